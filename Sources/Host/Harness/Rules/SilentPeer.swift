import CHarness
import Glibc
import PluginAPI
import Synchronization

/// `isolation/silent-peer`: a channel whose payload does not come waits in read() for as long as it
/// takes. The others go on, and new ones begin.
enum SilentPeer {
  /// Seconds for a few packets; the machine may be busy.
  private static let patience: UInt64 = 10

  @Sendable static func check(_ context: Context) throws(Stop) {
    let shape = Shape(try context.library, pages: 8)
    let waiting = try Lane(context, shape.channel(0, of: 3), label: "waiting", content: Lane.mix)
    let busy = try Lane(context, shape.channel(1, of: 3), label: "busy", content: Lane.mix)
    let packet = try waiting.send(Array(waiting.source.offsets.prefix(8)))
    guard !packet.payload.isEmpty else { throw .skipped("sends nothing") }
    var ends: [Int32] = [-1, -1]
    try context.require(pipe(&ends) == 0, "no pipe")
    let (reader, writer) = (ends[0], ends[1])
    waiting.receiver.host.pipe = reader
    let silent = Thread { _ = try? waiting.deliver(packet) }
    // Until it is inside: it has nothing to do but to come to its read().
    usleep(20_000)
    let isDone = Atomic(false)
    let other = Thread {
      do throws(Stop) {
        for count in [8, 1, 3] { try busy.pass(Array(busy.source.offsets.prefix(count))) }
        let late = try Lane(context, shape.channel(2, of: 3), label: "late", content: Lane.mix)
        try late.pass(Array(late.source.offsets.prefix(4)))
        late.close()
      } catch {
        // Reported where it was seen.
      }
      isDone.store(true, ordering: .releasing)
    }
    let deadline = charness_now() + patience * 1_000_000_000
    while !isDone.load(ordering: .acquiring), charness_now() < deadline { usleep(1000) }
    let hasHung = !isDone.load(ordering: .acquiring)
    // Now it comes, so that all can end.
    packet.payload.withUnsafeBytes { _ = writeAll(writer, $0) }
    close(writer)
    silent.join()
    other.join()
    waiting.receiver.host.pipe = nil
    close(reader)
    context.check(
      !hasHung, "channels stand still while another one waits in read() for a payload")
  }
}
