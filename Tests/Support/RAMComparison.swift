import Foundation

/// The memory of a stopped guest against a file that should hold the same.
public enum RAMComparison {
  /// 0xa0000 to 0xfffff is left out: a guest sees video memory and shadowed ROM there, and not its RAM block.
  public static let shadowed = 0xa0000..<0x100000

  /// Compares the first `memory` MiB of guest memory of `qemu`, which must be stopped, with the file `path`.
  /// Gives the offsets of the pages that differ (the first 16), and how many do.
  public static func differences(_ qemu: QEMU, _ path: String) throws -> (
    offsets: [Int], count: Int
  ) {
    let folder = try TemporaryFolder()
    let dump = folder("ram")
    let size = qemu.machine.memory << 20
    try qemu.qmp.execute(
      "pmemsave",
      ["val": 0, "size": .integer(Int64(size)), "filename": .string(dump)],
      timeout: .seconds(120))
    let a = try Data(contentsOf: URL(fileURLWithPath: dump), options: .alwaysMapped)
    let b = try Data(contentsOf: URL(fileURLWithPath: path), options: .alwaysMapped)
    guard a.count == size, b.count == size else {
      throw LabError("guest memory is \(size) bytes, dumped \(a.count), in \(path) \(b.count)")
    }
    var offsets: [Int] = []
    var count = 0
    // Both buffers are mapped for the time of the closures and `size` bytes long; every offset stays below that.
    a.withUnsafeBytes { a in
      b.withUnsafeBytes { b in
        for offset in stride(from: 0, to: size, by: 4096) where !shadowed.contains(offset) {
          if memcmp(a.baseAddress! + offset, b.baseAddress! + offset, 4096) != 0 {
            count += 1
            if offsets.count < 16 { offsets.append(offset) }
          }
        }
      }
    }
    return (offsets, count)
  }
}
