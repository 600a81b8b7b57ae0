import Foundation
import Migration
import Observe
import Synchronization
import System

/// The packets of a guest's netdevs, each with a pair of filters and a holder.
final class HeldPackets: PacketGate {
  /// One netdev's.
  private struct Net: Sendable {
    var id: String
    var pair: Redirectors
    var holder: PacketHolder
  }

  private struct State: Sendable {
    var nets: [Net] = []
    var folder: PrivateFolder?
  }

  private let ids: [String]
  private let linger: Double
  private let sockets: String
  private let onWaiting: @Sendable () -> Void
  private let onFailure: @Sendable (Failure) -> Void
  private let state = Mutex(State())

  /// - Parameters:
  ///   - nets: the netdevs' ids.
  ///   - sockets: a folder in which QEMU can make sockets.
  ///   - linger: seconds that a packet waits before `onWaiting` is called.
  ///   - onWaiting: asks for a checkpoint; returns at once.
  ///   - onFailure: packets get nowhere any more, for this reason.
  init(
    _ nets: [String], sockets: String, linger: Double, onWaiting: @escaping @Sendable () -> Void,
    onFailure: @escaping @Sendable (Failure) -> Void
  ) {
    ids = nets
    self.sockets = sockets
    self.linger = linger
    self.onWaiting = onWaiting
    self.onFailure = onFailure
  }

  func putIn(
    _ monitor: any GuestMonitor, holding: Bool, within seconds: Double
  ) throws(Failure) {
    do {
      let (objects, chardevs, files) = try Self.names(monitor, within: seconds)
      let first = Redirectors.nextNumber(objects + chardevs)
      let folder = try PrivateFolder(in: sockets, for: monitor.user)
      var numbers: Set<Int> = []
      for (index, id) in ids.enumerated() {
        let pair = Redirectors(net: id, number: first + index, folder: folder.path)
        try Self.run(pair.sockets, monitor, within: seconds)
        let holder = try PacketHolder(
          from: pair.from, to: pair.to, linger: linger, onWaiting: onWaiting
        ) { [onFailure] failure in
          if let failure { onFailure(failure) }
        }
        if !holding { holder.letThrough() }
        state.withLock { $0.nets.append(Net(id: id, pair: pair, holder: holder)) }
        try Self.run(pair.filters, monitor, within: seconds)
        numbers.insert(first + index)
      }
      state.withLock { $0.folder = folder }
      // Behind the new ones those that a dead process has left get nothing more.
      try Self.run(
        Redirectors.leftovers(objects: objects, chardevs: chardevs, but: numbers), monitor,
        within: seconds)
      Self.remove(Redirectors.folders(of: files, but: numbers))
    } catch let error as MonitorError {
      throw error.failure
    } catch { throw Failure(error, at: "packets") }
  }

  func hold() { each { $0.hold() } }
  func mark(_ number: Int) { each { $0.mark(number) } }
  func release(_ number: Int) { each { $0.release(number) } }
  func letThrough() { each { $0.letThrough() } }

  private func each(_ body: (PacketHolder) -> Void) {
    for holder in state.withLock({ $0.nets.map(\.holder) }) { body(holder) }
  }

  func takeOut(_ monitor: any GuestMonitor, within seconds: Double) throws(MonitorError) {
    let nets = state.withLock(\.nets)
    for net in nets {
      // What a failed attempt has not put in cannot be taken out.
      try? Self.run(net.pair.release, monitor, within: seconds)
      net.holder.settle(within: 0.2)
      try? Self.run(net.pair.rest, monitor, within: seconds)
    }
    try Self.takeAllOut(monitor, within: seconds)
    // Not before: a filter that is left in is mute without its holder.
    for net in nets { net.holder.end() }
    state.withLock { ($0.nets, $0.folder) = ([], nil) }
  }

  /// Takes out all filters of a protect's, whoever has put them in.
  static func takeAllOut(
    _ monitor: any GuestMonitor, within seconds: Double
  ) throws(MonitorError) {
    let (objects, chardevs, files) = try names(monitor, within: seconds)
    try run(
      Redirectors.leftovers(objects: objects, chardevs: chardevs), monitor, within: seconds)
    remove(Redirectors.folders(of: files))
  }

  /// Removes folders whose sockets QEMU has just given up: whoever made them was killed. One that
  /// is not empty, or not in this process's sight, stays.
  private static func remove(_ folders: Set<String>) { for folder in folders { rmdir(folder) } }

  var lines: [ProtectLine.Net] {
    state.withLock { $0.nets.map { ($0.id, $0.holder.counts) } }.map { id, counts in
      var line = ProtectLine.Net(id: id)
      (line.held, line.bytes) = (counts.held, counts.bytes)
      (line.released, line.dropped, line.asked) = (counts.released, counts.dropped, counts.asked)
      if counts.wait.count > 0 {
        (line.waitMean, line.waitP99) = (counts.wait.mean, counts.wait.p99)
      }
      return line
    }
  }

  private static func names(
    _ monitor: any GuestMonitor, within seconds: Double
  ) throws(MonitorError) -> (objects: [String], chardevs: [String], files: [String: String]) {
    let objects = try monitor.execute("qom-list", ["path": "/objects"], within: seconds)
    let chardevs = try monitor.execute("query-chardev", within: seconds)
    return (
      objects.elements.compactMap(\.["name"].string),
      chardevs.elements.compactMap(\.["label"].string),
      Dictionary(
        chardevs.elements.compactMap { chardev in
          chardev["label"].string.flatMap { label in
            chardev["filename"].string.map { (label, $0) }
          }
        }, uniquingKeysWith: { $1 })
    )
  }

  private static func run(
    _ commands: [Redirectors.Command], _ monitor: any GuestMonitor, within seconds: Double
  ) throws(MonitorError) {
    for command in commands {
      try monitor.execute(command.name, QMPValue(command.arguments), within: seconds)
    }
  }
}
