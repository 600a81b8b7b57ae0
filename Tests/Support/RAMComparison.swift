import Foundation

/// The memory of a stopped guest against a file that should hold the same.
public enum RAMComparison {
  /// 0xa0000 to 0xfffff is left out: a guest sees video memory and shadowed ROM there, and not its
  /// RAM block.
  public static let shadowed = 0xa0000..<0x100000

  /// Compares the guest memory of `qemu`, which must be stopped, with the file `path`. Gives the
  /// offsets of the pages that differ (the first 16), and how many do.
  public static func differences(_ qemu: QEMU, _ path: String) throws -> (
    offsets: [Int], count: Int
  ) {
    let folder = try TemporaryFolder()
    defer { folder.remove() }
    try dump(qemu, folder("ram"))
    return try compare(folder("ram"), path, size: qemu.machine.memory << 20)
  }

  /// Compares the guest memory of two stopped QEMUs with machines of one size.
  public static func differences(_ qemu: QEMU, _ other: QEMU) throws -> (
    offsets: [Int], count: Int
  ) {
    let folder = try TemporaryFolder()
    defer { folder.remove() }
    try dump(other, folder("other"))
    return try differences(qemu, folder("other"))
  }

  /// The pages of a guest's memory, read from the process of a QEMU that has stopped it (and whose
  /// monitor may hang), that differ from those in the file `path`: offset and content.
  public static func differences(process qemu: QEMU, _ path: String) throws -> [(
    offset: Int, page: Data
  )] {
    let size = qemu.machine.memory << 20
    let maps = try String(contentsOfFile: "/proc/\(qemu.process.pid)/maps", encoding: .utf8)
    let starts = maps.split(separator: "\n").compactMap { line -> Int? in
      let ends = line.prefix { $0 != " " }.split(separator: "-").compactMap { Int($0, radix: 16) }
      return ends.count == 2 && ends[1] - ends[0] == size ? ends[0] : nil
    }
    guard starts.count == 1 else {
      throw LabError("\(starts.count) mappings have the guest's size")
    }
    let file = URL(fileURLWithPath: "/proc/\(qemu.process.pid)/mem")
    let memory = try FileHandle(forReadingFrom: file)
    try memory.seek(toOffset: UInt64(starts[0]))
    let stored = try FileHandle(forReadingFrom: URL(fileURLWithPath: path))
    var result: [(offset: Int, page: Data)] = []
    for megabyte in 0..<qemu.machine.memory {
      let one = try memory.read(upToCount: 1 << 20) ?? Data()
      let other = try stored.read(upToCount: 1 << 20) ?? Data()
      guard one.count == 1 << 20, other.count == one.count else {
        throw LabError("guest memory ends at \(megabyte) MiB")
      }
      if one == other { continue }
      for offset in stride(from: 0, to: one.count, by: page)
      where !shadowed.contains(megabyte << 20 + offset) {
        let content = one.dropFirst(offset).prefix(page)
        if content != other.dropFirst(offset).prefix(page) {
          result.append((megabyte << 20 + offset, Data(content)))
        }
      }
    }
    return result
  }

  private static func dump(_ qemu: QEMU, _ path: String) throws {
    try qemu.qmp.execute(
      "pmemsave",
      [
        "val": 0, "size": .integer(Int64(qemu.machine.memory << 20)), "filename": .string(path),
      ],
      timeout: .seconds(120))
  }

  private static func compare(_ a: String, _ b: String, size: Int) throws -> (
    offsets: [Int], count: Int
  ) {
    // Read, not mapped: to touch a hole of a mapped tmpfs file would fill it, and a store is full
    // of holes.
    let first = try FileHandle(forReadingFrom: URL(fileURLWithPath: a))
    let second = try FileHandle(forReadingFrom: URL(fileURLWithPath: b))
    guard try first.seekToEnd() == size, try second.seekToEnd() == size else {
      throw LabError(
        "guest memory is \(size) bytes, dumped \(try first.offset()), in \(b) \(try second.offset())"
      )
    }
    try first.seek(toOffset: 0)
    try second.seek(toOffset: 0)
    var offsets: [Int] = []
    var count = 0
    let chunk = 1 << 20
    for start in stride(from: 0, to: size, by: chunk) {
      let one = try first.read(upToCount: chunk) ?? Data()
      let other = try second.read(upToCount: chunk) ?? Data()
      if one == other { continue }
      for offset in stride(from: 0, to: min(one.count, other.count), by: page)
      where !shadowed.contains(start + offset) {
        if one.dropFirst(offset).prefix(page) != other.dropFirst(offset).prefix(page) {
          count += 1
          if offsets.count < 16 { offsets.append(start + offset) }
        }
      }
    }
    return (offsets, count)
  }

  private static let page = 4096
}
