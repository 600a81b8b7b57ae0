import PluginAPI

/// Does in the zygote what every test does anyway and no backend is needed for, so that what is
/// made on first use is there when a child is forked: tables, the metadata of types, the addresses
/// of functions.
///
/// Leaves no descriptor, no thread and no memory that a test would look at.
enum Rehearsal {
  static func run(_ order: ChildOrder) {
    // Nothing that is said here is for anybody.
    let reporter = Reporter(test: "") { _ = $0.text }
    reporter.say(.backend(name: "", version: "", wireFormat: ""))
    reporter.find(nil, "nothing")
    _ = ABI.sizes[0]
    Pace.prepare()
    Turns.prepare()
    _ = ProcessState().difference(from: ProcessState())

    let shape = Shape(pageSize: 4096, pageCount: 4)
    var random = Seeded(1)
    let source = Block(pageSize: shape.pageSize, pages: 4, kind: .source)
    let target = Block(pageSize: shape.pageSize, pages: 4, kind: .target)
    for content in Content.allCases { source.fill(content, &random) }
    target.poison()
    let offsets = source.pick(shape.pageCount, &random)
    let inPacket = Set(offsets)
    for offset in target.offsets where inPacket.contains(offset) {
      _ = source.equals(target, at: offset) || target.isPoisoned(offset)
    }
    let list = PageLists(capacity: shape.pageCount)
    _ = list.show(offsets)
    list.hide()
    callServices(Context(order, reporter))
  }

  /// Calls every service once, as a backend does: what is made at the first call is made then, and
  /// not while somebody looks at how a backend behaves.
  private static func callServices(_ context: Context) {
    let host = TestHost(context)
    let services = host.services.pointee, channel = host.channel
    _ = host.call("recv", 0, 0, payload: [1, 2, 3, 4], announced: 4) {
      var bytes = (UInt64(0), UInt64(0))
      return withUnsafeMutableBytes(of: &bytes) { room in
        // Four bytes of sixteen, in three pieces.
        _ = services.read(channel, room.baseAddress!, 1)
        var pieces = [
          MultiFDIOVec(iov_base: room.baseAddress!, iov_len: 1),
          MultiFDIOVec(iov_base: room.baseAddress! + 8, iov_len: 2),
        ]
        let status = services.readv(channel, &pieces, 2)
        services.log(channel, MULTIFD_LOG_DEBUG, "")
        services.free(channel, services.alloc(channel, 64, 64))
        return status
      }
    }
    host.memory.checkEmpty("")
  }
}
