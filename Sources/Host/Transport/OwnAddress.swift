import Glibc

/// Looks at the address that a socket is bound to.
///
/// - Parameter body: is given it for the call, with room for any family's.
/// - Returns: what `body` does; nil where getsockname(2) does not say.
func withOwnAddress<Result>(
  _ descriptor: Int32, _ body: (UnsafePointer<sockaddr>) -> Result
) -> Result? {
  var storage = sockaddr_storage()
  var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
  return withUnsafeMutablePointer(to: &storage) { pointer in
    // sockaddr_storage is made to be looked at as any address, and lives as long as this closure.
    pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
      getsockname(descriptor, address, &length) == 0 ? body(address) : nil
    }
  }
}
