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
    try dump(qemu, folder("ram"))
    return try compare(folder("ram"), path, size: qemu.machine.memory << 20)
  }

  /// Compares the guest memory of two stopped QEMUs with machines of one size.
  public static func differences(_ qemu: QEMU, _ other: QEMU) throws -> (
    offsets: [Int], count: Int
  ) {
    let folder = try TemporaryFolder()
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
    let first = try Data(contentsOf: URL(fileURLWithPath: a), options: .alwaysMapped)
    let second = try Data(contentsOf: URL(fileURLWithPath: b), options: .alwaysMapped)
    guard first.count == size, second.count == size else {
      throw LabError(
        "guest memory is \(size) bytes, dumped \(first.count), in \(b) \(second.count)")
    }
    var offsets: [Int] = []
    var count = 0
    // Both are mapped for the time of the closures and `size` bytes long; every offset stays below that.
    first.withUnsafeBytes { first in
      second.withUnsafeBytes { second in
        for offset in stride(from: 0, to: size, by: 4096) where !shadowed.contains(offset) {
          if memcmp(first.baseAddress! + offset, second.baseAddress! + offset, 4096) != 0 {
            count += 1
            if offsets.count < 16 { offsets.append(offset) }
          }
        }
      }
    }
    return (offsets, count)
  }
}
