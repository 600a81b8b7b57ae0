import Foundation
import TestSupport

/// A disk of a synthetic guest: what it has at its primary, what that had at each checkpoint, and
/// the mirror that keeps its standby's image in step.
final class MirroredDisk {
  /// The name of its export.
  let name: String
  /// The path of the image at the standby.
  let image: String
  /// Where the standby serves it.
  let uri: String
  /// What has been written and answered: the primary's disk, as far as its standby has said so.
  private(set) var contents: [UInt8]
  /// Ranges of writes that have been sent and were not answered: they may be there or not.
  private(set) var unanswered: [Range<Int>] = []
  /// The disk at the end of precopy (0), and at each checkpoint.
  private(set) var snapshots: [[UInt8]] = []
  /// The connection.
  private(set) var client: NBDClient?
  private var generator: SeededGenerator

  /// Bytes.
  var size: Int { contents.count }

  /// A disk full of random bytes, and an empty image of it.
  init(_ name: String, size: Int, image: String, uri: String, seed: UInt64) throws {
    (self.name, self.image, self.uri) = (name, image, uri)
    generator = SeededGenerator(seed: seed)
    contents = (0..<size).map { _ in 0 }
    try Data(contents).write(to: URL(filePath: image))
    contents = randomBytes(size)
  }

  /// What the image has now.
  var atStandby: [UInt8] { (try? Data(contentsOf: URL(filePath: image))).map(Array.init) ?? [] }

  /// The mirror connects, or connects again.
  func connect() throws {
    client?.close()
    client = nil
    client = try NBDClient(uri, export: name)
  }

  /// The mirror connects while others ask for the same export: who has it and has asked for nothing
  /// yet gives way to the next, and connects again.
  func connectAmongOthers() throws {
    for _ in 0..<100 {
      do {
        try connect()
        return try flush()
      } catch NBDClient.Ended.gone {}
    }
    throw LabError("\(name): others have its export again and again")
  }

  /// It is cut off.
  func cut() {
    client?.close()
    client = nil
  }

  /// The first copy: every block once.
  ///
  /// - Parameter part: of them.
  func copy(_ part: Range<Double> = 0..<1) throws {
    let block = 16384
    let blocks = size / block
    for index in Int(Double(blocks) * part.lowerBound)..<Int(Double(blocks) * part.upperBound) {
      let range = index * block..<(index + 1) * block
      guard
        try expectClient().perform(
          .write, at: range.lowerBound, count: block, Array(contents[range])
        ).error == 0
      else { throw LabError("\(name): the first copy was refused") }
    }
  }

  /// The guest writes, so many times: sectors of random bytes, zeroes, and trims.
  func write(_ count: Int) throws {
    for _ in 0..<count {
      let sectors = Int.random(in: 1...24, using: &generator)
      let start = Int.random(in: 0...size / 512 - sectors, using: &generator) * 512
      let range = start..<start + sectors * 512
      switch generator.next() % 6 {
      case 0: try write(nil, at: range, as: .writeZeroes)
      case 1: try write(nil, at: range, as: .trim)
      case 2: try write(randomBytes(range.count), at: range, as: .write, flags: 1)
      default: try write(randomBytes(range.count), at: range, as: .write)
      }
    }
  }

  /// The guest writes this; it counts as soon as it has been answered.
  func write(
    _ bytes: [UInt8]?, at range: Range<Int>, as kind: NBDClient.Kind, flags: UInt16 = 0
  ) throws {
    unanswered.append(range)
    let error = try expectClient().perform(
      kind, flags: flags, at: range.lowerBound, count: range.count, bytes ?? []
    ).error
    guard error == 0 else { throw LabError("\(name): error \(error) for a write at \(range)") }
    unanswered.removeLast()
    contents.replaceSubrange(range, with: bytes ?? [UInt8](repeating: 0, count: range.count))
  }

  /// What QEMU sends before it takes a checkpoint, when all else is answered.
  func flush() throws {
    guard try expectClient().perform(.flush).error == 0 else { throw LabError("\(name): FLUSH") }
  }

  /// Reads all of it from the standby.
  func readBack() throws -> [UInt8] {
    try stride(from: 0, to: size, by: 1 << 16).flatMap { start in
      let count = min(1 << 16, size - start)
      return try expectClient().perform(.read, at: start, count: count).data
    }
  }

  /// The guest stands still: this is the end of precopy's, or the next checkpoint's.
  func mark(isFirst: Bool = false) { snapshots = (isFirst ? [] : snapshots) + [contents] }

  /// Random bytes of the disk's own.
  func randomBytes(_ count: Int) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    for index in bytes.indices { bytes[index] = UInt8(truncatingIfNeeded: generator.next()) }
    return bytes
  }

  /// The connection; there must be one.
  func expectClient() throws -> NBDClient {
    guard let client else { throw NBDClient.Ended.gone }
    return client
  }

  /// Where the image is not as it should be; nil if it is.
  ///
  /// - Parameter ignored: ranges that may have anything.
  func difference(_ wanted: [UInt8], besides ignored: [Range<Int>] = []) -> String? {
    let found = atStandby
    guard found.count == wanted.count else { return "\(name) has \(found.count) bytes" }
    // Compared as a whole first: byte by byte only to find the place.
    guard found != wanted else { return nil }
    let place = found.indices.first { index in
      found[index] != wanted[index] && !ignored.contains { $0.contains(index) }
    }
    return place.map { "\(name) at byte \($0)" }
  }
}
