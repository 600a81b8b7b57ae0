import Foundation
import Glibc
import Memory

/// What was acknowledged can be continued, also when the file system has become full since: to do
/// that, a few kilobytes are to be written (that a copy is done, that the guest has gone), and a
/// store has them in hand.
extension Store {
  /// Makes the file `reserve`: room for a manifest and as many notes as there are.
  func makeReserve(for manifest: Int) throws(StoreError) {
    // Zeroes that are written, and no hole: on tmpfs that is memory.
    let zeroes = [UInt8](repeating: 0, count: manifest + 64 << 10)
    var result: Result<Void, StoreError> = .success(())
    zeroes.withUnsafeBytes { bytes in
      result = Result { () throws(StoreError) in try folder.write("reserve", bytes) }
    }
    try result.get()
  }

  /// Does something for which there may be no room, and does it again with the reserve given up.
  func withReserve(_ body: () throws(StoreError) -> Void) throws(StoreError) {
    do throws(StoreError) { try body() } catch {
      guard error.kind == .full else { throw error }
      folder.remove("reserve")
      try body()
    }
  }
}
