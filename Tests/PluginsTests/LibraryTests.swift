import Foundation
import PluginAPI
import Testing

/// The files themselves, and the tables in them.
@Suite struct LibraryTests {
  @Test("one exported symbol, no Swift runtime", arguments: Backend.names)
  func dynamicSection(name: String) throws {
    let library = try ELFLibrary(path: Backend.named(name).path)
    #expect(library.exported == [MULTIFD_PLUGIN_ENTRY])
    let codec = [
      "zlib": ["libz.so.1"], "zstd": ["libzstd.so.1"], "lz4": ["liblz4.so.1"],
      "igzip": ["libisal.so.2"],
    ]
    // The loader itself may be listed too: it is part of libc.
    let system = ["libc.so.6", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"]
    #expect(Set(library.needed).subtracting(system) == Set(codec[name] ?? []), "\(library.needed)")
    #expect(!library.imported.contains { $0.hasPrefix("swift_") || $0.hasPrefix("$s") })
    #expect(!library.imported.contains("exit") && !library.imported.contains("printf"))
  }

  @Test("the table is complete and true", arguments: Backend.names)
  func table(name: String) {
    let methods = Backend.named(name).methods.pointee
    #expect(methods.magic == MULTIFD_PLUGIN_MAGIC)
    #expect(methods.abi_major == MULTIFD_ABI_MAJOR && methods.abi_minor == MULTIFD_ABI_MINOR)
    #expect(methods.struct_size == UInt32(MemoryLayout<MultiFDMethods>.size))
    #expect(methods.option_size == 56)
    #expect(String(cString: methods.name) == name)
    let format = ["nocomp": "none/1", "igzip": "zlib/1"]
    #expect(String(cString: methods.wire_format) == format[name] ?? "\(name)/1")
    #expect(String(cString: methods.version).split(separator: ".").count == 3)
    let description = String(cString: methods.description)
    #expect(!description.isEmpty && !description.contains("\n") && !description.hasSuffix("."))
    #expect(methods.max_in_flight == 0)
    #expect(
      (methods.capabilities & MULTIFD_CAP_STABLE_INPUT != 0)
        == ["zlib", "zstd", "igzip"].contains(name))
    let method = [
      "nocomp": MULTIFD_QEMU_METHOD_NONE, "zlib": MULTIFD_QEMU_METHOD_ZLIB,
      "igzip": MULTIFD_QEMU_METHOD_ZLIB, "zstd": MULTIFD_QEMU_METHOD_ZSTD,
      "lz4": MULTIFD_QEMU_METHOD_UNKNOWN,
    ]
    #expect(methods.qemu_method == method[name])
  }

  @Test("the options can be shown and their defaults are valid", arguments: Backend.names)
  func options(name: String) {
    let expected = [
      "nocomp": [], "zlib": ["level"], "zstd": ["level", "stream", "window-log"],
      "lz4": ["acceleration", "level"], "igzip": ["level"],
    ]
    let options = Backend.named(name).options
    #expect(options.map { String(cString: $0.name) } == expected[name])
    for option in options {
      let help = String(cString: option.help)
      #expect(!help.isEmpty && !help.hasSuffix(".") && help.utf8.count <= 70)
      // Traps unless it is one of the choices, or a number in range.
      _ = OptionValues.number(option, String(cString: option.default_value))
      #expect((option.choices == nil) == (option.type != MULTIFD_OPTION_ENUM))
    }
  }
}
