import Glibc
import PluginAPI
import PluginLoader

/// `golden`: earlier versions and other backends of the format are understood.
enum Golden {
  static let bodies: [String: Rules.Body] = [
    "golden/payloads": payloads, "golden/libraries": libraries, "golden/same-format": sameFormat,
  ]

  @Sendable private static func payloads(_ context: Context) throws(Stop) {
    let library = try context.library
    guard let folder = context.order.golden else { throw .missed("no --golden") }
    if context.order.records { try record(context, library, folder) }
    var tried = 0
    for name in entries(of: folder) where name.hasSuffix(".golden") {
      guard let recording = readFile(folder + "/" + name).flatMap({ Recording($0) }) else {
        context.fail("\(name) is not a recording")
        continue
      }
      guard recording.wireFormat == library.wireFormat else { continue }
      tried += 1
      try replay(recording, name, context, library)
    }
    if tried == 0 { throw .missed("no recording of \(library.wireFormat) in \(folder)") }
  }

  /// One file for the defaults and one for each end of each option.
  private static func record(
    _ context: Context, _ library: Library, _ folder: String
  ) throws(Stop) {
    var variants: [[String: String]] = [[:]]
    for option in library.options {
      guard let name = option.name else { continue }
      variants += option.extremes.prefix(8).map { [name: $0] }
    }
    for options in variants {
      let shape = Shape(library, pages: 16)
      let lane = try Lane(context, shape, options: options, label: "golden", content: Lane.mix)
      var recording = Recording(library, shape, options: options)
      var random = context.random("golden")
      for count in [2, 1, 3] {
        let packet = try lane.send(lane.source.pick(count, &random))
        recording.entries.append(
          Recording.Entry(
            offsets: packet.offsets, payload: packet.payload,
            hashes: packet.offsets.map { Recording.hash(lane.source.bytes(at: $0)) }))
      }
      let suffix = options.map { "-\($0.key)-\($0.value)" }.joined()
      let path = "\(folder)/\(library.name)-\(library.version)\(suffix).golden"
      let written = recording.bytes.withUnsafeBytes { writeFile(path, $0) }
      try context.require(written, "cannot write \(path)")
    }
  }

  private static func replay(
    _ recording: Recording, _ name: String, _ context: Context, _ library: Library
  ) throws(Stop) {
    guard library.supports(recording.pageSize, recording.pageCount) else {
      context.fail("\(name): pages of \(recording.pageSize) are not supported any more")
      return
    }
    // Options that are gone, or ranges that have shrunk, do not matter to a receiver.
    var options: [String: String] = [:]
    for option in library.options {
      if let key = option.name, let value = recording.options[key], option.number(value) != nil {
        options[key] = value
      }
    }
    let receiver = try ReceiveDriver(context, recording.shape, options: options)
    try context.require(receiver.setup.isOK, "\(name): recv_setup() returns \(receiver.setup)")
    let all = Array(Set(recording.entries.flatMap(\.offsets))).sorted()
    let target = Block(pageSize: recording.pageSize, offsets: all, kind: .target)
    for (number, entry) in recording.entries.enumerated() {
      target.poison()
      let status = receiver.receive(entry.payload, target, entry.offsets)
      guard status.isOK else {
        context.fail("\(name), packet \(number), recorded by \(recording.version): \(status)")
        return
      }
      for (offset, hash) in zip(entry.offsets, entry.hashes)
      where Recording.hash(target.bytes(at: offset)) != hash {
        context.fail("\(name), packet \(number): the page at \(offset) is not what was recorded")
        return
      }
    }
  }

  /// Other libraries of the same wire format: this one's payloads through them, and theirs through
  /// this one.
  private static func exchange(
    _ context: Context, with path: String
  ) throws(Stop) -> Bool {
    let library = try context.library
    // A reporter of its own: the other library is not what is tried here.
    let silent = Reporter(test: context.order.test) { _ in }
    var order = context.order
    order.path = path
    order.options = library.files(in: order.options)
    let other = Context(order, silent)
    guard let theirs = try? other.library, theirs.wireFormat == library.wireFormat else {
      return false
    }
    let what = "\(theirs.name) \(theirs.version)"
    let shape = Shape(library, pages: 16)
    for (from, to, direction) in [
      (context, other, "from this to"), (other, context, "to this from"),
    ] {
      // Two backends of one direction each have one way only.
      guard try from.library.has(.send), try to.library.has(.receive) else { continue }
      let source = Block(pageSize: shape.pageSize, pages: 22, kind: .source)
      let target = Block(pageSize: shape.pageSize, pages: 22, kind: .target)
      var random = context.random("exchange")
      source.fill(&random, Lane.mix)
      source.allow(.reading)
      let send = try SendDriver(from, shape)
      let receive = try ReceiveDriver(to, shape)
      try context.require(
        send.setup.isOK && receive.setup.isOK, "\(direction) \(what): setup fails")
      for number in 0..<context.rounds(40, quick: 10) {
        let offsets = source.pick(number % 5 == 0 ? 16 : 5, &random)
        let payload = send.prepare(source, offsets)
        try context.demand(payload.status, "\(direction) \(what): send_prepare()")
        let status = receive.receive(payload.bytes, target, offsets)
        try context.require(
          status.isOK, "\(direction) \(what), packet \(number): recv() returns \(status)")
        for offset in offsets {
          try context.require(
            source.equals(target, at: offset),
            "\(direction) \(what), packet \(number): the page at \(offset) is not what was sent")
        }
      }
    }
    return true
  }

  @Sendable private static func libraries(_ context: Context) throws(Stop) {
    guard let folder = context.order.golden else { throw .missed("no --golden") }
    let folders = [folder] + entries(of: folder).map { folder + "/" + $0 }
    var tried = 0
    for folder in folders {
      for name in entries(of: folder) where name.hasPrefix("libmultifd-") && name.hasSuffix(".so") {
        if try exchange(context, with: folder + "/" + name) { tried += 1 }
      }
    }
    if tried == 0 { throw .missed("no earlier build of this wire format in \(folder)") }
  }

  @Sendable private static func sameFormat(_ context: Context) throws(Stop) {
    let library = try context.library
    var tried = 0
    for path in OtherBackends.paths(context) where try exchange(context, with: path) { tried += 1 }
    guard tried == 0 else { return }
    let reason = "no other backend of \(library.wireFormat) is found"
    // There are others of QEMU's formats, and one of an own format may be the only one.
    throw library.methods.qemu_method == MULTIFD_QEMU_METHOD_UNKNOWN
      ? .skipped(reason) : .missed(reason)
  }
}

/// Backends beside the one that is tried.
enum OtherBackends {
  /// Files `libmultifd-*.so` of the search path that are not the one that is tried.
  static func paths(_ context: Context) -> [String] {
    let folders = PluginSearchPath(explicit: context.order.pluginFolders).folders
    let own = realPath(context.order.path) ?? context.order.path
    var seen = Set<String>()
    return folders.flatMap { folder in
      entries(of: folder).filter { $0.hasPrefix("libmultifd-") && $0.hasSuffix(".so") }
        .map { folder + "/" + $0 }
    }.filter { path in
      let real = realPath(path) ?? path
      return real != own && seen.insert(real).inserted
    }
  }
}
