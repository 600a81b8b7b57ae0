import Store

/// The operator's own QEMU command, made to run on the RAM files of a store.
///
/// Machine memory is one block, named by its backend: `pc.ram`, unless the operator's command names
/// another with `-machine memory-backend=`. That block becomes a `memory-backend-file` on the store's
/// file, shared, so the guest goes on in the very pages that are there. Backends of `-object
/// memory-backend-*,id=NAME` (NUMA, `-machine memory-backend`) are replaced in place. Blocks that are
/// neither (ROMs, video memory) are sent over the migration stream.
package struct QEMUCommandLine {
  /// The whole command.
  package let arguments: [String]
  /// Names of the blocks that QEMU maps.
  package let mapped: Set<String>

  /// Blocks that QEMU makes by itself as machine memory, when no backend is named.
  private static let defaultNames = [
    "pc.ram", "mach-virt.ram", "microvm.ram", "ppc_spapr.ram", "ram",
  ]

  package init(
    _ command: [String], store: String, blocks: [Manifest.Block], qmp: String
  ) throws(Failure) {
    var arguments: [String] = []
    var mapped: Set<String> = []
    var namesBackend = false
    var index = 0
    while index < command.count {
      let argument = command[index]
      let value = index + 1 < command.count ? command[index + 1] : ""
      switch argument {
      case "-incoming", "--incoming":
        throw Failure(
          .usage, "failover", "the command has -incoming: it is added here",
          hint: "give the primary's own command")
      case "-object", "--object":
        if let object = Self.mapping(value, store, blocks) {
          arguments += [argument, object.text]
          mapped.insert(object.name)
          index += 2
          continue
        }
      case "-machine", "-M", "--machine":
        if value.split(separator: ",").contains(where: { $0.hasPrefix("memory-backend=") }) {
          namesBackend = true
        }
      default: break
      }
      arguments.append(argument)
      index += 1
    }
    if !namesBackend, mapped.isEmpty,
      let ram = blocks.first(where: { Self.defaultNames.contains($0.name) })
    {
      // -machine options of several occurrences are merged.
      arguments += [
        "-object", Self.object(ram, store), "-machine", "memory-backend=\(ram.name)",
      ]
      mapped.insert(ram.name)
    }
    arguments += ["-incoming", "defer", "-qmp", "unix:\(qmp),server=on,wait=off"]
    self.arguments = arguments
    self.mapped = mapped
  }

  /// A memory backend of the operator's command, moved to the store's file; nil for other objects.
  private static func mapping(
    _ value: String, _ store: String, _ blocks: [Manifest.Block]
  ) -> (name: String, text: String)? {
    let fields = value.split(separator: ",").map(String.init)
    guard let type = fields.first,
      type.hasPrefix("memory-backend-") || type.hasPrefix("qom-type=memory-backend-"),
      let id = fields.first(where: { $0.hasPrefix("id=") })?.dropFirst(3),
      // Old machine types name the block by the object's path.
      let block = blocks.first(where: { $0.name == id || $0.name == "/objects/\(id)" })
    else { return nil }
    let kept = fields.dropFirst().filter { field in
      !["id=", "mem-path=", "share=", "size=", "hugetlb", "seal="].contains {
        field.hasPrefix($0)
      }
    }
    var named = block
    named.name = String(id)
    return (block.name, ([object(named, store)] + kept).joined(separator: ","))
  }

  private static func object(_ block: Manifest.Block, _ store: String) -> String {
    // QEMU doubles commas in values.
    let path = "\(store)/\(block.file)".split(separator: ",", omittingEmptySubsequences: false)
      .joined(separator: ",,")
    return "memory-backend-file,id=\(block.name),mem-path=\(path),share=on,size=\(block.length)"
  }
}
