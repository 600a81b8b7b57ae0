import CHarness
import Glibc
import PluginAPI

/// `lifecycle/system-calls`: what a backend does with the kernel that leaves no trace in the process:
/// a file that it writes, a socket, a child that it waits for, a signal, a descriptor of somebody
/// else that it closes.
enum SystemCalls {
  @Sendable static func check(_ context: Context) throws(Stop) {
    if charness_sanitized() != 0 { throw .missed("a sanitizer makes such calls itself") }
    let shape = Shape(try context.library, pages: 16)
    // What the harness needs is made before it is watched.
    let source = Block(pageSize: shape.pageSize, pages: 16, kind: .source)
    let target = Block(pageSize: shape.pageSize, pages: 16, kind: .target)
    var random = context.random("content")
    source.fill(&random, Lane.mix)
    source.allow(.reading)
    let send = try SendDriver(context, shape, sets: false)
    let receive = try ReceiveDriver(context, shape, sets: false)
    let error = charness_watch_calls()
    guard error == 0 else {
      throw .missed("calls cannot be watched here: \(String(cString: strerror(error)))")
    }
    // Watching changes a flag of the process.
    context.noteState()
    report("while nobody has called it", context)
    send.setUp()
    receive.setUp()
    report("in setup", context)
    try context.demand(send.setup, "send_setup()")
    try context.demand(receive.setup, "recv_setup()")
    for count in [16, 1, 7] {
      let offsets = Array(source.offsets.prefix(min(count, shape.pageCount)))
      let payload = send.prepare(source, offsets)
      try context.demand(payload.status, "send_prepare()")
      let status = receive.receive(payload.bytes, target, offsets)
      try context.demand(status, "recv()")
    }
    _ = receive.receive([1, 2, 3], target, Array(source.offsets.prefix(1)))
    report("in a packet", context)
    send.close()
    receive.close()
    report("in cleanup", context)
  }

  private static func report(_ when: String, _ context: Context) {
    var text = [CChar](repeating: 0, count: 4096)
    let count = charness_watched_calls(&text, text.count)
    let bytes = text[..<count].map { UInt8(bitPattern: $0) }
    for line in Set(bytes.split(separator: UInt8(ascii: "\n"))) {
      context.fail("\(clean(String(decoding: line, as: UTF8.self))) \(when)")
    }
  }
}
