// What `multifd plugins new` writes: a backend that builds and passes the harness, in five languages. Its
// sources are the files beside this one. They build as they are, and are embedded in the executable, so that
// they are there from a build tree and from an installation alike.
//
// A module of its own, since what is embedded takes seconds to compile.

import Foundation

/// A backend's first files.
package struct Skeleton {
  /// What a skeleton can be written in.
  package enum Language: String, CaseIterable {
    case c
    case cxx = "c++"
    case rust
    case swift
    /// For prototypes: its backend runs a Python for each channel.
    case python
  }

  /// What the files are called and say.
  package let files: [(path: String, text: String)]

  /// The name of a private wire format (FORMATS.md) for a backend called `name`: `x-NAME`, or the
  /// name itself where it begins so. Nil when that is longer than the 31 letters that a format's
  /// name may have: cut short, it could be another backend's.
  package static func formatName(of name: String) -> String? {
    let format = name.hasPrefix("x-") ? name : "x-" + name
    return format.utf8.count <= 31 ? format : nil
  }

  /// The files of a backend called `name`, nil where `formatName` has none for it. `home` is the multifd that they are built against where
  /// pkg-config knows none.
  package init?(name: String, language: Language, home: Home) {
    guard let format = Self.formatName(of: name) else { return nil }
    typealias Source = PackageResources
    let codec: String, table: String
    var files: [(path: String, bytes: [UInt8])]
    var buildDepends = ["debhelper-compat (= 13)", "pkg-config"]
    var depends = ["${shlibs:Depends}", "${misc:Depends}"]
    // What the README and the harness's configuration say in every language, and in one only.
    var about: [UInt8] = []
    var coded = Source.words_of_zeroes_md
    var harness = Source.harness_toml
    switch language {
    case .c:
      (codec, table) = ("backend.c", "backend.c")
      files = [
        ("backend.c", Source.backend_c), ("Makefile", Source.c_mk),
        ("plugin.map", Source.plugin_map),
      ]
    case .cxx:
      (codec, table) = ("backend.cpp", "backend.cpp")
      files = [
        ("backend.cpp", Source.backend_cpp), ("Makefile", Source.cxx_mk),
        ("plugin.map", Source.plugin_map),
      ]
    case .rust:
      (codec, table) = ("src/codec.rs", "src/lib.rs")
      files = [
        ("src/codec.rs", Source.codec_rs), ("src/lib.rs", Source.lib_rs),
        ("abi/Cargo.toml", Source.abi_toml), ("abi/ffi.rs", Source.ffi_rs),
        ("Cargo.toml", Source.Cargo_toml), ("rustfmt.toml", Source.rustfmt_toml),
        ("Makefile", Source.rust_mk),
      ]
      buildDepends += ["cargo", "rustc"]
    case .swift:
      (codec, table) = ("Codec.swift", "Table.swift")
      files = [
        ("Codec.swift", Source.Codec_swift), ("Backend.swift", Source.Backend_swift),
        ("Table.swift", Source.Table_swift), ("Host.swift", Source.Host_swift),
        ("Header.h", Source.Header_h), ("Makefile", Source.swift_mk),
        ("plugin.map", Source.plugin_map),
      ]
    case .python:
      (codec, table) = ("codec.py", "shim.c")
      files = [
        ("codec.py", Source.codec_py), ("worker.py", Source.worker_py),
        ("shim.c", Source.shim_c), ("child.c", Source.child_c), ("child.h", Source.child_h),
        ("Makefile", Source.python_mk), ("plugin.map", Source.plugin_map),
      ]
      buildDepends.append("python3")
      depends.append("python3")
      (about, coded) = (Source.about_md, Source.zlib_stream_md)
      harness = Source.prototype_toml
    }
    // What makes a repository of it that can be pushed.
    files += [
      ("README.md", Source.README_md), ("LICENSE", Source.LICENSE),
      (".gitignore", Source.gitignore), ("harness.toml", harness),
      (".github/workflows/check.yml", Source.check_yml), ("debian/control", Source.control),
      ("debian/rules", Source.rules), ("debian/changelog", Source.changelog),
      ("debian/copyright", Source.copyright), ("debian/source/format", Source.source_format),
    ]
    // What the backend is called in the files (second, where a name has no hyphens), its format's
    // name, and what only whoever writes it out knows.
    let words = [
      "new-backend": name, "new_backend": String(name.map { $0 == "-" ? "_" : $0 }),
      "x-new-backend": format,
      "@CODEC@": codec, "@TABLE@": table,
      "@PACKAGE@": "multifd-" + String(name.map { $0 == "_" ? "-" : $0 }),
      "@BUILD_DEPENDS@": buildDepends.joined(separator: ", "),
      "@DEPENDS@": depends.joined(separator: ", "),
      "@ABOUT@": String(decoding: about, as: UTF8.self),
      "@CODED@": String(decoding: coded.dropLast(), as: UTF8.self),
      "@YEAR@": Self.now("%Y"), "@DATE@": Self.now("%a, %d %b %Y %H:%M:%S +0000"),
      "@INCLUDE@": home.include, "@PLUGINDIR@": home.plugins, "@BIN@": home.bin,
    ]
    self.files = files.map { path, bytes in
      (path, Self.fill(String(decoding: bytes, as: UTF8.self), words))
    }
  }

  /// The time, in UTC and in English, as strftime(3) writes it.
  private static func now(_ format: String) -> String {
    var seconds = time(nil), parts = tm()
    gmtime_r(&seconds, &parts)
    var text = [CChar](repeating: 0, count: 64)
    // strftime() is told the array's size. No locale is set in this program: names are English.
    let length = strftime(&text, text.count, format, &parts)
    return String(decoding: text.prefix(length).map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  /// The text with each key of `words` replaced by its value. What has been put in is not looked at
  /// again: a backend's name or a folder may contain a key.
  private static func fill(_ text: String, _ words: [String: String]) -> String {
    var filled = ""
    var rest = text[...]
    while true {
      let places = words.compactMap { word, value in rest.range(of: word).map { ($0, value) } }
      let first = places.min { $0.0.lowerBound < $1.0.lowerBound }
      guard let (place, value) = first else { break }
      filled += rest[..<place.lowerBound] + value
      rest = rest[place.upperBound...]
    }
    return filled + rest
  }

  /// Writes the files into `folder`, which is made when it is not there.
  package func write(to folder: String) throws {
    for file in files {
      let path = folder + "/" + file.path
      let parent = URL(fileURLWithPath: path).deletingLastPathComponent().path
      try FileManager.default.createDirectory(
        atPath: parent, withIntermediateDirectories: true)
      try Data(file.text.utf8).write(to: URL(fileURLWithPath: path), options: .withoutOverwriting)
      // What is run as a program says so in its first line.
      if file.text.hasPrefix("#!") {
        try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: path)
      }
    }
  }
}

extension Skeleton {
  /// Where this executable's header, backends and harness are: an installation or a build tree.
  package struct Home {
    let bin: String
    let include: String
    let plugins: String

    /// Looks around the folder of the executable.
    package init?(executableFolder bin: String) {
      let found = [
        // PREFIX/bin, and .build/TRIPLE/release of a source tree.
        (include: "../include", plugins: "../lib/multifd"),
        (include: "../../../Sources/PluginAPI/include", plugins: "."),
      ].first { FileManager.default.fileExists(atPath: "\(bin)/\($0.include)/multifd_plugin.h") }
      guard let found else { return nil }
      func path(_ relative: String) -> String {
        URL(fileURLWithPath: "\(bin)/\(relative)").standardizedFileURL.path
      }
      (self.bin, include, plugins) = (bin, path(found.include), path(found.plugins))
    }
  }
}
