import Foundation
import SessionReplay
import TestSupport
import Testing
import Wire

/// Sessions that were tampered with.
extension [UInt8] {
  /// The main channel of a source whose capability return-path is on: OPEN_RETURN_PATH and PING
  /// stand where it puts them, after the configuration.
  func withReturnPath() throws -> [UInt8] {
    try inserting(
      Command.openReturnPath.encode() + Command.ping(1).encode(), after: endOfConfiguration())
  }

  /// The same bytes with others in between.
  func inserting(_ bytes: [UInt8], after offset: Int) throws -> [UInt8] {
    Array(self[..<offset]) + bytes + self[offset...]
  }

  /// The offset behind the configuration element.
  func endOfConfiguration() throws -> Int {
    var decoder = StreamDecoder()
    var at = 0
    try withUnsafeBytes { all in
      while case .element(let element, let consumed) = try decoder.next(
        UnsafeRawBufferPointer(rebasing: all[at...]))
      {
        at += consumed
        if case .configuration = element { return }
      }
      throw LabError("there is no configuration")
    }
    return at
  }

  /// Replaces bytes in place.
  mutating func patch(_ offset: Int, _ bytes: [UInt8]) {
    replaceSubrange(offset..<offset + bytes.count, with: bytes)
  }

  /// A big-endian word in place.
  mutating func patch(_ offset: Int, _ word: UInt32) {
    patch(offset, Swift.withUnsafeBytes(of: word.bigEndian) { Array($0) })
  }

  /// A big-endian long word in place.
  mutating func patch(_ offset: Int, _ word: UInt64) {
    patch(offset, Swift.withUnsafeBytes(of: word.bigEndian) { Array($0) })
  }
}

extension StreamScript.Channel {
  /// Number and place of the first packet that `wanted` wants.
  func first(where wanted: (StreamScript.Packet) -> Bool) throws -> (number: Int, at: Int) {
    guard let index = packets.firstIndex(where: wanted) else {
      throw LabError("channel \(id) has no such packet")
    }
    return (index + 1, packets[index].range.lowerBound)
  }
}

/// A session's lines with the tools to break them.
struct Tampered {
  let script: StreamScript
  var lines: [Line]

  /// - Parameter returnPath: the source waits for a verdict.
  init(_ name: String, returnPath: Bool = true) throws {
    let session = try #require(Fixtures.session(name))
    script = try StreamScript(session)
    lines = try Line.of(session)
    if returnPath, !script.decoder.returnPathRequested {
      lines[0].bytes = try lines[0].bytes.withReturnPath()
      lines[0].end = .wait
    }
  }

  /// A packet with many pages: its channel, its number, and where it begins.
  func bigPacket() throws -> (channel: Int, number: Int, at: Int) {
    for channel in script.channels {
      guard let found = try? channel.first(where: { $0.normal.count > 10 }) else { continue }
      return (channel.id, found.number, found.at)
    }
    throw LabError("no packet has many pages")
  }

  /// Makes the channels wait until the main channel has said that it listens.
  mutating func mainFirst() {
    for index in lines.indices.dropFirst() { lines[index].writeAfter = 0.15 }
  }

  /// Changes a channel's bytes.
  mutating func channel(_ id: Int, _ change: (inout [UInt8]) throws -> Void) rethrows {
    try change(&lines[id + 1].bytes)
  }
}
