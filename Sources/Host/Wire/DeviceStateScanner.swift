/// Splits device state into its sections (SPECIFICATION section 5.1): a checkpoint's blob, or what
/// a migration sends from its first device to EOF.
public enum DeviceStateScanner {
  /// One device's section in a blob.
  public struct Section: Equatable, Sendable {
    /// FULL, with name, instance and version.
    public var header: SectionHeader
    /// The whole section's bytes in the blob.
    public var range: Range<Int>
    /// Those of its body, between header and footer.
    public var body: Range<Int>
  }

  /// Splits a whole blob, FULL sections and a final `00`, by its footers.
  ///
  /// - Parameters:
  ///   - blob: all of it.
  ///   - offset: where in its stream it begins, for errors.
  ///   - maxSections: sections that are allowed.
  public static func split(
    _ blob: UnsafeRawBufferPointer, at offset: UInt64 = 0, maxSections: Int = 4096
  ) throws(WireError) -> [Section] {
    try split(blob, at: offset, maxSections: maxSections) { (header, start) throws(WireError) in
      let search = FooterSearch(
        id: header.id, iterable: [], following: .nothing, inputEnded: true, maxVMDescription: 0)
      guard case .found(let end) = search.find(in: blob, from: start) else {
        throw WireError(
          .truncated, at: offset + UInt64(blob.count),
          "section \(header.name) at byte \(offset + UInt64(start)) has no footer")
      }
      return end
    }
  }

  /// Splits the same exactly, by the sizes that the migration's VM description gives.
  ///
  /// Use it when the split by footers disagrees with the description: a body may hold a footer's
  /// bytes.
  public static func split(
    _ blob: UnsafeRawBufferPointer, by description: VMDescription, at offset: UInt64 = 0,
    maxSections: Int = 4096
  ) throws(WireError) -> [Section] {
    var devices = description.devices[...]
    return try split(blob, at: offset, maxSections: maxSections) {
      (header, start) throws(WireError) in
      // Devices that came before the blob (early_setup) are skipped.
      guard
        let index = devices.firstIndex(where: {
          $0.name == header.name && $0.instance == header.instance
        })
      else {
        throw WireError(
          .mismatch, at: offset + UInt64(start),
          "the VM description has no device \(header.name) \(header.instance) here")
      }
      let size = devices[index].bodySize
      devices = devices[(index + 1)...]
      guard size <= UInt64(blob.count), Int(size) + 5 <= blob.count - start,
        blob[start + Int(size)] == 0x7e, blob.u32(start + Int(size) + 1) == header.id
      else {
        throw WireError(
          .mismatch, at: offset + UInt64(start),
          "\(header.name) \(header.instance) has no footer after the \(size) bytes of the VM description"
        )
      }
      return start + Int(size) + 5
    }
  }

  /// Walks the sections; `end` finds where the one whose body begins at its second argument ends.
  private static func split(
    _ blob: UnsafeRawBufferPointer, at offset: UInt64, maxSections: Int,
    end: (SectionHeader, Int) throws(WireError) -> Int
  ) throws(WireError) -> [Section] {
    var found: [Section] = []
    var cursor = Cursor(blob)
    while true {
      let start = cursor.offset
      let position = offset + UInt64(start)
      guard let type = cursor.u8() else {
        throw WireError(.truncated, at: position, "device state ends without EOF")
      }
      if type == 0 {
        guard cursor.offset == blob.count else {
          throw WireError(
            .badLength, at: position, "\(blob.count - cursor.offset) bytes follow EOF")
        }
        return found
      }
      guard type == SectionKind.full.rawValue else {
        throw WireError(
          .unknownElement, at: position, "expected a FULL section or EOF, found \(hex(type))")
      }
      guard let id = cursor.u32(), let name = try cursor.name(of: "a section", at: offset),
        let instance = cursor.u32(), let version = cursor.u32()
      else {
        throw WireError(
          .truncated, at: offset + UInt64(blob.count), "device state ends inside a section's header"
        )
      }
      guard found.count < maxSections else {
        throw WireError(.limitExceeded, at: position, "more than \(maxSections) sections")
      }
      let header = SectionHeader(
        kind: .full, id: id, name: name.text, instance: instance, version: version)
      let next = try end(header, cursor.offset)
      found.append(Section(header: header, range: start..<next, body: cursor.offset..<next - 5))
      cursor = Cursor(blob, from: next)
    }
  }
}
