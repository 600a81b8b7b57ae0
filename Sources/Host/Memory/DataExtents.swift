import CLinux
import Glibc
import System

extension RAMBlock {
  /// The parts of the file that hold data, in order, in whole pages; everything else is hole and
  /// reads as zeroes. A reader that skips holes does not make a sparse guest grow: on tmpfs even
  /// *reading* a hole through a mapping allocates its page.
  public func dataExtents() throws(SystemError) -> [Range<Int>] {
    var extents: [Range<Int>] = []
    var at: Int64 = 0
    while at < Int64(length) {
      let data = clinux_seek_data(descriptor, at)
      if data < 0 {
        if errno == ENXIO { break }
        throw SystemError("lseek")
      }
      let hole = clinux_seek_hole(descriptor, data)
      guard hole >= 0 else { throw SystemError("lseek") }
      let start = Int(data) / pageSize * pageSize
      let end = min((Int(hole) + pageSize - 1) / pageSize * pageSize, length)
      if let last = extents.last, last.upperBound >= start {
        extents[extents.count - 1] = last.lowerBound..<end
      } else if start < end {
        extents.append(start..<end)
      }
      at = hole
    }
    return extents
  }
}
