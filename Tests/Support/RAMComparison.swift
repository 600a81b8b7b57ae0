import Foundation

/// The memory of a stopped guest against a file that should hold the same.
public enum RAMComparison {
  /// 0xa0000 to 0xfffff is left out: a guest sees video memory and shadowed ROM there, and not its RAM block.
  public static let shadowed = 0xa0000..<0x100000

  /// Compares the guest memory of `qemu`, which must be stopped, with the file `path`. Gives the offsets of the
  /// pages that differ (the first 16), and how many do.
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
    // Read, not mapped: to touch a hole of a mapped tmpfs file would fill it, and a store is full of holes.
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
