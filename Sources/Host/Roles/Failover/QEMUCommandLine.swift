import Foundation
import Migration
import Store

/// The operator's own QEMU command, made to run on the RAM files of a store.
///
/// Every block is decided by itself. A backend that the command makes (`-object
/// memory-backend-*,id=NAME`: NUMA nodes, DIMMs, `-machine memory-backend=`) becomes a
/// `memory-backend-file` on the store's file, shared, in place, in either notation of QEMU's
/// (`KEY=VALUE,…` or JSON). Machine memory without a backend of the command's own (`pc.ram`,
/// `mach-virt.ram`) gets one. So the guest goes on in the very pages that are there. All other
/// blocks are sent over the migration stream: ROMs, video memory, and backends that belong to a
/// device which is more than memory: an nvdimm's contents belong into its own file, a virtio-mem
/// device punches holes.
package struct QEMUCommandLine {
  /// The whole command.
  package let arguments: [String]
  /// Names of the blocks that QEMU maps.
  package let mapped: Set<String>
  /// What of the operator's command was left out, for it would be in the way.
  package let leftOut: [String]
  /// Where QEMU writes its process id.
  package let pidFile: String?

  /// Blocks that QEMU makes by itself as machine memory, when no backend is named: of the machines
  /// that were watched not to write to it before the guest runs. Another's is sent.
  private static let defaultNames = ["pc.ram", "mach-virt.ram", "microvm.ram", "sbsa-ref.ram"]

  /// What belongs to the primary's own memory and not to the store's file: where it lies, and what
  /// would be done to the file. `offset` would map the wrong pages, `discard-data` punch holes at
  /// QEMU's end, `prealloc` make memory of all holes while a standby still fills them.
  private static let replaced: Set<String> = [
    "qom-type", "id", "mem-path", "share", "size", "offset", "hugetlb", "hugetlbsize", "seal",
    "discard-data", "prealloc", "prealloc-threads", "prealloc-context", canonical,
  ]

  /// Whether the object's path names the block, or its id: with machine types up to 3.1 the default
  /// depends on the kind of the backend, and the primary's may have been of another.
  private static let canonical = "x-use-canonical-path-for-ramblock-id"

  package init(
    _ command: [String], store: String, blocks: [Manifest.Block], qmp: String
  ) throws(Failure) {
    try Self.check(command)
    let uses = MemoryUses(command)
    var arguments: [String] = []
    var mapped: Set<String> = []
    var leftOut: [String] = []
    var pidFile: String?
    let ram = uses.machineNamesBackend ? nil : blocks.first { Self.defaultNames.contains($0.name) }
    var index = 0
    while index < command.count {
      let argument = command[index]
      let value = index + 1 < command.count ? command[index + 1] : ""
      var taken = 1
      switch argument {
      case "-object", "--object":
        if let object = Self.mapping(value, store, blocks, uses) {
          arguments += [argument, object.text]
          mapped.insert(object.name)
          taken = 2
        } else {
          arguments.append(argument)
        }
      // It outlives this command anyway, and must be its child until it has the guest. Whether the
      // guest runs is for the guest's own state to say.
      case "-daemonize", "--daemonize", "-S", "--S": leftOut.append(argument)
      // The store's file is the memory.
      case "-mem-path" where ram != nil, "--mem-path" where ram != nil:
        leftOut.append("\(argument) \(value)")
        taken = 2
      case "-mem-prealloc" where ram != nil, "--mem-prealloc" where ram != nil:
        leftOut.append(argument)
      case "-pidfile", "--pidfile":
        pidFile = value
        arguments.append(argument)
      default: arguments.append(argument)
      }
      index += taken
    }
    if let ram, !mapped.contains(ram.name) {
      // -machine options of several occurrences are merged.
      arguments += [
        "-object", Self.object(ram.name, ram, store), "-machine", "memory-backend=\(ram.name)",
      ]
      mapped.insert(ram.name)
    }
    arguments += ["-incoming", "defer", "-qmp", "unix:\(qmp),server=on,wait=off"]
    self.arguments = arguments
    self.mapped = mapped
    self.leftOut = leftOut
    self.pidFile = pidFile
  }

  /// Refuses a command that no store could make right.
  ///
  /// - Throws: with ``Failure/Kind/usage``, so it can be called while arguments are parsed.
  package static func check(_ command: [String]) throws(Failure) {
    guard !command.isEmpty else {
      throw Failure(
        .usage, "failover", "the QEMU command is missing: … -- qemu-system-x86_64 ARGS")
    }
    for (argument, value) in zip(command, command.dropFirst() + [""]) {
      switch argument {
      case "-incoming", "--incoming":
        throw Failure(
          .usage, "failover", "the command has -incoming: it is added here",
          hint: "give the primary's own command")
      case "-loadvm", "--loadvm":
        throw Failure(
          .usage, "failover",
          "the command has -loadvm: it would load another state over the guest's RAM",
          hint: "leave it out")
      case "-object", "--object":
        if value.hasPrefix("{"), json(value) == nil {
          throw Failure(.usage, "failover", "\(argument) '\(value)' is no JSON object")
        }
      default: break
      }
    }
  }

  /// A memory backend of the operator's command, moved to the store's file; nil for other objects.
  private static func mapping(
    _ value: String, _ store: String, _ blocks: [Manifest.Block], _ uses: MemoryUses
  ) -> (name: String, text: String)? {
    if value.hasPrefix("{") { return json(value).flatMap { mapping($0, store, blocks, uses) } }
    let fields = fields(value)
    guard let type = fields.first,
      type.hasPrefix("memory-backend-") || type.hasPrefix("qom-type=memory-backend-"),
      let id = fields.first(where: { $0.hasPrefix("id=") })?.dropFirst(3),
      !uses.belongsToDevice(String(id)), let block = block(String(id), blocks)
    else { return nil }
    let kept = fields.dropFirst().filter { !replaced.contains(String($0.prefix { $0 != "=" })) }
    return (block.name, ([object(String(id), block, store)] + kept).joined(separator: ","))
  }

  /// The same for an object in JSON, as libvirt writes them.
  private static func mapping(
    _ object: [String: Any], _ store: String, _ blocks: [Manifest.Block], _ uses: MemoryUses
  ) -> (name: String, text: String)? {
    guard let type = object["qom-type"] as? String, type.hasPrefix("memory-backend-"),
      let id = object["id"] as? String, !uses.belongsToDevice(id), let block = block(id, blocks)
    else { return nil }
    var moved = object.filter { !replaced.contains($0.key) }
    moved["qom-type"] = "memory-backend-file"
    moved["id"] = id
    moved["mem-path"] = "\(store)/\(block.file)"
    moved["share"] = true
    moved["size"] = block.length
    moved[canonical] = block.name != id
    // What was parsed can be written again.
    let data = try? JSONSerialization.data(
      withJSONObject: moved, options: [.sortedKeys, .withoutEscapingSlashes])
    return data.map { (block.name, String(decoding: $0, as: UTF8.self)) }
  }

  static func json(_ text: String) -> [String: Any]? {
    (try? JSONSerialization.jsonObject(with: Data(text.utf8))) as? [String: Any]
  }

  /// The block of a backend. Old machine types name it by the object's path.
  private static func block(_ id: String, _ blocks: [Manifest.Block]) -> Manifest.Block? {
    blocks.first { $0.name == id || $0.name == "/objects/\(id)" }
  }

  /// `KEY=VALUE` pieces as they are written: a doubled comma is part of a value.
  static func fields(_ text: String) -> [String] {
    var fields = [""]
    var pieces = text.split(separator: ",", omittingEmptySubsequences: false)[...]
    while let piece = pieces.popFirst() {
      fields[fields.count - 1] += piece
      guard let next = pieces.first else { break }
      if next.isEmpty, pieces.count > 1 {
        pieces.removeFirst()
        fields[fields.count - 1] += ",,"
      } else {
        fields.append("")
      }
    }
    return fields.filter { !$0.isEmpty }
  }

  private static func object(_ id: String, _ block: Manifest.Block, _ store: String) -> String {
    // QEMU doubles commas in values.
    let path = "\(store)/\(block.file)".split(separator: ",", omittingEmptySubsequences: false)
      .joined(separator: ",,")
    return "memory-backend-file,id=\(id),mem-path=\(path),share=on,size=\(block.length),"
      + "\(canonical)=\(block.name == id ? "off" : "on")"
  }
}
