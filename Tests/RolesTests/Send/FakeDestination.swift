import COLO
import Foundation
import Memory
import Roles
import SessionReplay
import Store
import System
import TestSupport
import Testing
import Transport
import Wire

/// Listens as a stock QEMU with `-incoming` does, keeps what comes, and answers as it is told.
final class FakeDestination: Sendable {
  /// How it ends.
  enum Answer: Sendable, Equatable {
    /// SHUT with this value, after the whole stream.
    case shut(UInt32)
    /// Closes the connections after the whole stream, without a verdict.
    case close
    /// Says nothing after the whole stream.
    case silence
    /// SHUT 1 in place of this PONG.
    case refuse(UInt32)
    /// Has fewer channels: closes those from this one on, with what came unread, for all that
    /// anybody can tell.
    case fewer(Int)
    /// Closes everything after so many bytes of a connection: 0 is main.
    case dieAfter(Int, connection: Int)
    /// Reads nothing.
    case stall
    /// Is something else, which says this.
    case speak(String)
  }

  /// What happens before it answers a PING, and before its verdict (0).
  typealias Hook = @Sendable (UInt32) -> Void

  /// Where it listens.
  let endpoint: Endpoint
  private let descriptor: Int32
  private let folder: TemporaryFolder?
  private let threads = ThreadGroup()
  private let state: System.Monitor<(heard: [[UInt8]], open: [Int32])>

  /// - Parameters:
  ///   - channels: how many multifd connections are expected.
  ///   - sync: `section` is not past START before every channel has sent a SYNC.
  init(
    channels: Int, over transport: Reception.Transport = .unix, answer: Answer = .shut(0),
    sync: SendOptions.Sync = .section, hook: @escaping Hook = { _ in }
  ) throws {
    switch transport {
    case .tcp:
      let (descriptor, port) = try Sockets.listen()
      (self.descriptor, folder) = (descriptor, nil)
      endpoint = .tcp(host: "127.0.0.1", port: UInt16(port))
    case .unix:
      let folder = try TemporaryFolder()
      descriptor = try Self.listen(unix: folder("incoming"))
      self.folder = folder
      endpoint = .unix(path: folder("incoming"))
    }
    state = System.Monitor(([[UInt8]](repeating: [], count: channels + 1), []))
    try threads.start("destination") { [state, threads, descriptor] in
      for index in 0...channels {
        let accepted = Sockets.accept(descriptor)
        guard accepted >= 0 else { return }
        state.update { $0.open.append(accepted) }
        if answer == .stall { continue }
        try! threads.start("incoming \(index)") {
          Self.serve(accepted, index, answer, sync, hook, state)
        }
      }
    }
  }

  private static func serve(
    _ descriptor: Int32, _ index: Int, _ answer: Answer, _ sync: SendOptions.Sync, _ hook: Hook,
    _ state: System.Monitor<(heard: [[UInt8]], open: [Int32])>
  ) {
    if case .speak(let text) = answer { Sockets.write(descriptor, Array(text.utf8)) }
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    while true {
      let count = Sockets.read(descriptor, &buffer)
      if count == 0 { break }
      let bytes = buffer.prefix(count)
      let total = state.update { state in
        state.heard[index] += bytes
        return state.heard[index].count
      }
      if case .dieAfter(let limit, index) = answer, total >= limit {
        for descriptor in state.read({ $0.open }) { shutdown(descriptor, Int32(SHUT_RDWR)) }
        return
      }
      guard index == 0 else { continue }
      for ping in pings(state.read { $0.heard[0].dropFirst(max(0, total - count - 8)) }) {
        hook(ping)
        if ping == 2, sync == .section {
          _ = state.wait(seconds: 10) {
            $0.heard.dropFirst().allSatisfy { $0.count >= 64 + 1344 } ? true : nil
          }
        }
        if case .fewer(let most) = answer, ping == 3 {
          for descriptor in state.read({ $0.open.dropFirst(1 + most) }) {
            shutdown(descriptor, Int32(SHUT_RDWR))
          }
        }
        Sockets.write(
          descriptor,
          answer == .refuse(ping)
            ? ReturnPathMessage.shut(1).encode() : ReturnPathMessage.pong(ping).encode())
      }
    }
    guard index == 0 else { return }
    hook(0)
    switch answer {
    case .shut(let value): Sockets.write(descriptor, ReturnPathMessage.shut(value).encode())
    case .close:
      for descriptor in state.read({ $0.open }) { shutdown(descriptor, Int32(SHUT_RDWR)) }
    default: break
    }
  }

  /// The values of the PING commands among these bytes, which begin with at most 8 that were seen
  /// before.
  private static func pings(_ bytes: ArraySlice<UInt8>) -> [UInt32] {
    var values: [UInt32] = []
    var at = bytes.startIndex
    while let next = bytes[at...].firstIndex(of: 8), next + 9 <= bytes.endIndex {
      if bytes[next..<next + 8].elementsEqual([8, 0, 2, 0, 4, 0, 0, 0]) {
        values.append(UInt32(bytes[next + 8]))
      }
      at = next + 1
    }
    return values
  }

  private static func listen(unix path: String) throws -> Int32 {
    let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    Swift.withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8)) }
    // The address lives on this frame for the call, and the size is its own.
    let result = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    try #require(result == 0 && Glibc.listen(descriptor, 64) == 0)
    return descriptor
  }

  /// Ends it, after the sender has let go of its connections.
  ///
  /// - Returns: what came, by connection, in the order in which they were opened.
  func end() -> [[UInt8]] {
    shutdown(descriptor, Int32(SHUT_RDWR))
    threads.joinAll()
    threads.joinAll()  // those that the first one started
    for descriptor in state.read({ $0.open }) { close(descriptor) }
    close(descriptor)
    return state.read { $0.heard }
  }
}

/// A store with the guest of a recorded session, made without the receiver.
struct HeldSession {
  let script: StreamScript
  let replay: StageReplay
  let path: String
  private let folder: TemporaryFolder

  init(_ name: String, change: (inout Manifest) -> Void = { _ in }) throws {
    script = try StreamScript(#require(Fixtures.session(name)))
    replay = try StageReplay(script, cache: nil)
    try replay.run()
    folder = try TemporaryFolder(.memory(bytes: 64 << 20))
    path = folder("store")
    var manifest = Manifest(
      state: .receiving, machine: script.decoder.configuration!.machine, pageSize: 4096,
      ramSection: script.decoder.ramSectionID!,
      blocks: script.blocks.map { Manifest.Block(name: $0.name, length: $0.usedLength) })
    change(&manifest)
    let store = try Store.prepare(path)
    let zero = [UInt8](repeating: 0, count: 4096)
    let blocks = try zip(manifest.blocks, replay.stage.guest).map { description, guest in
      let block = try store.makeBlock(description, pageSize: 4096)
      // Both blocks are as long, and each page is reserved before it is written.
      for offset in stride(from: 0, to: guest.length, by: 4096)
      where memcmp(guest.base + offset, zero, 4096) != 0 {
        try block.reserve(pageAt: offset)
        memcpy(block.base + offset, guest.base + offset, 4096)
      }
      return block
    }
    try store.hold(
      manifest, blocks: blocks, earlyState: Data(script.earlyState),
      deviceState: Data(script.deviceState), vmDescription: Data(script.vmDescription))
  }

  /// What the store says now.
  var state: Manifest.State? { try? Store.open(path, handedOver: true).manifest.state }
}
