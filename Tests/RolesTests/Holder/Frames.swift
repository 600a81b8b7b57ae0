/// Frames as a filter-redirector writes them.
enum Frames {
  /// One whose bytes tell its number; `size` without what stands before it, at least 8.
  static func make(_ number: Int, size: Int = 60, header: Int = 0) -> [UInt8] {
    var body = [UInt8](repeating: UInt8(truncatingIfNeeded: number), count: size)
    for index in 0..<8 { body[index] = UInt8(truncatingIfNeeded: number >> (8 * index)) }
    return head(size, header) + body
  }

  /// What stands before a frame.
  static func head(_ size: Int, _ header: Int = 0) -> [UInt8] {
    [size, header].flatMap { number in
      withUnsafeBytes(of: UInt32(truncatingIfNeeded: number).bigEndian, Array.init)
    }
  }
}
