import Foundation
import Migration
import Roles
import SessionReplay
import Store
import TLS
import TestSupport
import Testing
import Transport
import Wire

/// A main channel by TLS is read by one thread and answered by another, and its keys change meanwhile:
/// after 2^24 records with AES. A session without a lock ends there, or a process does.
@Suite("A main channel by TLS that is used for long, with a return path", .beside)
struct LongMainChannelTests {
  @Test("The source changes its key again and again")
  func changes() throws { try move(records: 5000, changes: 3) }

  @Test(
    "More records than a key of AES may have",
    .enabled(
      if: Soak.isOn, "SKIPPED: 2^24 records take minutes (MULTIFD_SOAK=1)"))
  func beyondTheLimit() throws { try move(records: (1 << 24) + 100_000, changes: 0) }

  private static let ram: UInt32 = 2
  private static let pages = 256

  /// A guest of zero pages, which come over and over, each in a record of its own, with a question
  /// behind every hundred.
  ///
  /// - Parameter changes: how often the source changes its key; GnuTLS takes no more than eight in
  ///   what is a second for whoever reads.
  private func move(records: Int, changes: Int) throws {
    let credentials = try Credentials(.x509)
    let folder = try TemporaryFolder(.memory(bytes: 16 << 20))
    defer { folder.remove() }
    var options = ReceiveOptions(listen: .tcp(host: "127.0.0.1", port: 0), store: folder("store"))
    options.tls = try TLSCredentials(in: credentials.folder.path, for: .listening)
    options.timeout = 30
    let receiver = Receiver(options, loader: TestBackends.loader)
    let client = try TLSCredentials(in: credentials.folder.path, for: .connecting)
    let source = Monitor<Result<(asked: Int, heard: Int), any Error>?>(nil)
    _ = try receiver.run(
      onListening: { endpoint in
        guard case .tcp(_, let port) = endpoint else { return }
        Thread.detachNewThread {
          let result = Result {
            try Self.send(records, changes, to: Int(port), client)
          }
          if case .failure = result { receiver.cancel(.failed, "the source has failed") }
          source.update { $0 = result }
        }
      }, onProgress: { _ in })
    let said = try #require(source.wait(.seconds(30)) { $0 }).get()
    #expect(said.heard == said.asked && said.asked >= records / 100)
    _ = try Store.open(folder("store"))
  }

  private static func send(
    _ records: Int, _ changes: Int, to port: Int, _ credentials: TLSCredentials
  ) throws -> (asked: Int, heard: Int) {
    let socket = try #require(Sockets.connect(port: port))
    defer { close(socket) }
    Sockets.limit(socket, seconds: 30)
    Sockets.setNoDelay(socket)
    let session = try TLSSession(socket, credentials, name: "127.0.0.1")
    try session.shake(within: 20)
    let heard = Monitor<Int?>(nil)
    Thread.detachNewThread {
      let count = (try? listen(session)) ?? -1
      heard.update { $0 = count }
    }
    var stream = StreamEncoder()
    stream.fileHeader()
    stream.configuration(Configuration(machine: "pc-q35-11.1"))
    stream.command(.openReturnPath)
    section(&stream, .start) { stream in
      stream.ramBlocks([RAMBlockDescription(name: "pc.ram", usedLength: UInt64(pages) << 12)])
    }
    var (sent, asked, changed, last) = (0, 0, 0, ContinuousClock.now)
    section(&stream, .part) { stream in
      stream.pageRecord(block: 0, offset: 0)
      stream.raw([UInt8](repeating: 7, count: 4096))
    }
    while sent < records || changed < changes {
      stream.beginSection(.part, id: ram, name: "ram", instance: 0, version: 4)
      for _ in 0..<100 {
        try session.send(stream.take())
        stream.zero(block: 0, offset: UInt64(sent % pages) << 12)
        sent += 1
      }
      stream.endOfRAMSection()
      stream.footer(id: ram)
      asked += 1
      stream.command(.ping(UInt32(truncatingIfNeeded: asked)))
      if changed < changes, .now - last > .milliseconds(150) {
        try session.rekey()
        (changed, last) = (changed + 1, .now)
      }
    }
    section(&stream, .end) { _ in }
    stream.eof()
    stream.vmDescription(Array("{}".utf8))
    try session.send(stream.take())
    return (asked, heard.wait(.seconds(30)) { $0 } ?? -1)
  }

  private static func section(
    _ stream: inout StreamEncoder, _ kind: SectionKind,
    _ contents: (inout StreamEncoder) -> Void
  ) {
    stream.beginSection(kind, id: ram, name: "ram", instance: 0, version: 4)
    contents(&stream)
    stream.endOfRAMSection()
    stream.footer(id: ram)
  }

  /// - Returns: how many PONGs have come before SHUT.
  private static func listen(_ session: TLSSession) throws -> Int {
    var count = 0
    while true {
      let head = try session.bytes(4)
      guard head.count == 4 else { throw LabError("it ends before SHUT") }
      _ = try session.bytes(Int(head[2]) << 8 | Int(head[3]))
      switch head[1] {
      case 1: return count
      case 2: count += 1
      default: break
      }
    }
  }
}
