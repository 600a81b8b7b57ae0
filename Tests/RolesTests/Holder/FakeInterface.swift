import Foundation
import TestSupport
import Testing
import Transport

/// QEMU's side of a pair of redirectors: writes frames, and reads what comes out, or does not.
final class FakeInterface {
  /// Where a holder connects to.
  let from: Endpoint
  /// And for the other way.
  let to: Endpoint
  private let folder: TemporaryFolder
  private var listeners: [Int32]
  private var ends: [Int32] = []

  /// Listens.
  init() throws {
    let folder = try TemporaryFolder()
    self.folder = folder
    from = .unix(path: folder("from"))
    to = .unix(path: folder("to"))
    listeners = try ["from", "to"].map { try Sockets.listen(unix: folder($0)) }
    for listener in listeners { Sockets.limit(listener, seconds: 10) }
  }

  deinit { close() }

  /// Takes the holder's connections.
  func accept() {
    ends = listeners.map { Sockets.accept($0) }
    #expect(ends.allSatisfy { $0 >= 0 }, "the holder does not connect")
    for end in ends { Sockets.limit(end, seconds: 10) }
  }

  /// Writes bytes, waiting for room, but not for ever.
  func write(_ bytes: [UInt8]) { #expect(Sockets.write(ends[0], bytes), "nobody reads") }

  /// Reads so many bytes, or fewer where no more come for some time.
  func read(_ count: Int, within seconds: Double = 10) -> [UInt8] {
    Sockets.limit(ends[1], seconds: seconds)
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    while bytes.count < count {
      let got = Sockets.read(ends[1], &buffer)
      guard got > 0 else { break }
      bytes += buffer[..<got]
    }
    return bytes
  }

  /// Closes where it reads, and nothing else.
  func finishReading() {
    Glibc.close(ends[1])
    ends[1] = -1
  }

  /// Whether nothing comes out for a moment.
  var isSilent: Bool { read(1, within: 0.05).isEmpty }

  /// Closes all.
  func close() {
    for descriptor in listeners + ends where descriptor >= 0 { Glibc.close(descriptor) }
    (listeners, ends) = ([], [])
  }
}
