import Foundation
import Observe
import Roles

extension RoleStatus {
  /// For people, a line each.
  var lines: [String] {
    let since = Duration.seconds(max(0, Date().timeIntervalSince1970 - started))
    let age = since.formatted(
      .units(allowed: [.days, .hours, .minutes, .seconds], maximumUnitCount: 2))
    var lines = ["process     \(role.rawValue), \(phase), pid \(pid), for \(age)"]
    if !channels.isEmpty {
      let (received, sent) = channels.reduce((0, 0)) { ($0.0 + $1.received, $0.1 + $1.sent) }
      var parts = ["\(channels.count - 1) channels"]
      if received > 0 { parts.append("\(Console.bytes(received)) in") }
      if sent > 0 { parts.append("\(Console.bytes(sent)) out") }
      if !backends.isEmpty { parts.append("by " + backends.joined(separator: ", ")) }
      lines.append("traffic     " + parts.joined(separator: ", "))
    }
    if let remaining, remaining > 0 { lines.append("to come     \(Console.bytes(remaining))") }
    if let checkpoints, checkpoints.pause.count > 0 {
      let pause = checkpoints.pause
      lines.append(
        "pauses      "
          + String(
            format: "mean %.2f ms of %d, ", pause.sum * 1000 / Double(pause.count), pause.count)
          + "cache \(Console.bytes(UInt64(checkpoints.cacheBytes)))")
    }
    lines += (nets ?? []).map { net in
      "net         \(net.id), \(net.held) packets held, \(net.released) released"
        + (net.dropped > 0 ? ", \(net.dropped) dropped" : "")
    }
    if let failoverReady { lines.append("ready       \(failoverReady ? "yes" : "no")") }
    if let strangers, strangers > 0 { lines.append("turned away \(strangers) connections") }
    if let losses, losses > 0 { lines.append("lost        \(losses) times") }
    if let error { lines.append("error       \(error)") }
    return lines
  }
}
