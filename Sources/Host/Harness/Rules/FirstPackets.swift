import CHarness
import Glibc
import PluginAPI
import Synchronization

/// `isolation/first-packets`: the first packets of all channels come at the same moment, as they do
/// in a migration. What a backend makes once for all channels, and when somebody needs it first, is
/// made then.
///
/// A process has one such moment: each attempt is a fork of this one, which has used no channel yet.
enum FirstPackets {
  @Sendable static func check(_ context: Context) throws(Stop) {
    if charness_sanitized() != 0 { throw .missed("a sanitizer does not live with fork()") }
    let library = try context.library
    // The moment is short, and not every attempt meets it.
    let deadline = charness_now() + UInt64(context.rounds(2000, quick: 250)) * 1_000_000
    for attempt in 0..<1000 where attempt < 8 || charness_now() < deadline {
      let child = fork()
      try context.require(child >= 0, "no process for an attempt")
      if child == 0 {
        // It reports by the same pipe, and nothing of the parent's is to be done a second time.
        _ = try? meet(
          context, library, channels: attempt % 4 < 2 ? 2 : 4, sending: attempt % 2 == 0)
        _exit(0)
      }
      var status: Int32 = 0
      while waitpid(child, &status, 0) < 0, errno == EINTR {}
      context.check(
        status == 0, "the process of attempt \(attempt + 1) was ended (status \(status))")
      if context.hasFailed || status != 0 { return }
    }
  }

  private static func meet(
    _ context: Context, _ library: Library, channels: Int, sending: Bool
  ) throws(Stop) {
    let shape = Shape(library, pages: 16)
    var lanes: [Lane] = []
    for id in 0..<channels {
      let lane = try Lane(
        context, shape.channel(id, of: channels), label: "\(id)", content: Lane.mix)
      lanes.append(lane)
    }
    let pages = Array(lanes[0].source.offsets.prefix(shape.pageCount))
    var packets: [Packet] = []
    if !sending {
      for lane in lanes {
        packets.append(try lane.send(pages))
        lane.target.poison()
      }
    }
    let (all, made) = (lanes, packets)
    let arrived = Atomic(0)
    concurrently(channels) { id in
      arrived.add(1, ordering: .acquiringAndReleasing)
      // Spinning, so that they go on at the same moment; not for ever, for want of processors.
      let deadline = charness_now() + 20_000_000
      while arrived.load(ordering: .acquiring) < channels, charness_now() < deadline {}
      do throws(Stop) {
        // Nothing between the moment and the call.
        if sending { return try all[id].deliver(all[id].send(pages)) }
        try all[id].take(made[id])
      } catch {
        // Reported where it was seen.
      }
    }
  }
}
