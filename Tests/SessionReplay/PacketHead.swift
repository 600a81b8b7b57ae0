import Wire

extension MultiFDPacketHeader {
  /// The header as it is sent, for pages of 4 KiB.
  public func bytes(_ block: String, _ offsets: [UInt64]) -> [UInt8] {
    let size = Self.size(pageSize: 4096)
    return [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
      // `encode` fills as many bytes as `size` says.
      offsets.withUnsafeBufferPointer {
        encode(
          into: UnsafeMutableRawBufferPointer(buffer), blockName: block, offsets: $0, pageSize: 4096
        )
      }
      count = size
    }
  }
}
