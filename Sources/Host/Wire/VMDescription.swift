/// The JSON that a source sends after EOF: which devices it sent, field by field (SPECIFICATION
/// section 5.1, rule 4). What is kept of it is what checks a split of the device state.
public struct VMDescription: Equatable, Sendable {
  /// One device, in the order of the stream. `ram` and other iterables are not among them.
  public struct Device: Equatable, Sendable {
    /// The section's name.
    public var name: String
    /// Which of the handlers of that name.
    public var instance: UInt32
    /// The section's version, where the description has it.
    public var version: UInt32?
    /// Bytes of the section between header and footer.
    public var bodySize: UInt64

    /// All of it.
    public init(name: String, instance: UInt32, version: UInt32?, bodySize: UInt64) {
      self.name = name
      self.instance = instance
      self.version = version
      self.bodySize = bodySize
    }
  }

  /// Bytes of a target page.
  public var pageSize: UInt64?
  /// The devices in the order of the stream.
  public var devices: [Device] = []

  /// Subsections within subsections; QEMU has two or three.
  static let maxDepth = 32

  /// Parses the JSON text, which begins at byte `offset` of its stream.
  ///
  /// - Throws: `badDescription` for text that has not the known shape, `limitExceeded` for more
  ///   than `maxDevices` devices. Members that are not known are skipped.
  public init(
    decoding json: UnsafeRawBufferPointer, at offset: UInt64 = 0, maxDevices: Int = 4096
  ) throws(WireError) {
    var reader = JSONReader(json, at: offset)
    var pageSize: UInt64?
    var devices: [Device] = []
    try reader.object { (reader, key) throws(WireError) in
      switch key {
      case "page_size": pageSize = try reader.unsigned()
      case "devices":
        try reader.array { (reader) throws(WireError) in
          guard devices.count < maxDevices else {
            throw WireError(
              .limitExceeded, at: offset + UInt64(reader.offset), "more than \(maxDevices) devices")
          }
          devices.append(try Self.device(&reader))
        }
      default: try reader.skip()
      }
    }
    guard reader.peek() == nil else { throw reader.wrong("the end") }
    self.pageSize = pageSize
    self.devices = devices
  }

  private static func device(_ reader: inout JSONReader) throws(WireError) -> Device {
    var name: String?
    var (instance, version): (UInt64, UInt64?) = (0, nil)
    var (size, parts): (UInt64?, UInt64) = (nil, 0)
    try reader.object { (reader, key) throws(WireError) in
      switch key {
      case "name": name = try reader.string()
      case "instance_id": instance = try reader.unsigned()
      case "version": version = try reader.unsigned()
      // Devices without a vmsd tell their size as a whole.
      case "size": size = try reader.unsigned()
      case "fields": parts = try add(parts, try fields(&reader), reader)
      case "subsections": parts = try add(parts, try subsections(&reader, depth: 0), reader)
      default: try reader.skip()
      }
    }
    guard let name, let instance = UInt32(exactly: instance) else {
      throw reader.wrong("a device with name and instance_id")
    }
    return Device(
      name: name, instance: instance, version: version.flatMap(UInt32.init(exactly:)),
      bodySize: size ?? parts)
  }

  /// Bytes of all fields: nested structs are in their field's size already.
  private static func fields(_ reader: inout JSONReader) throws(WireError) -> UInt64 {
    var sum: UInt64 = 0
    try reader.array { (reader) throws(WireError) in
      var (size, count): (UInt64, UInt64) = (0, 1)
      try reader.object { (reader, key) throws(WireError) in
        switch key {
        case "size": size = try reader.unsigned()
        case "array_len": count = try reader.unsigned()
        default: try reader.skip()
        }
      }
      let (bytes, over) = size.multipliedReportingOverflow(by: count)
      guard !over else { throw reader.wrong("a size below 2^64") }
      sum = try add(sum, bytes, reader)
    }
    return sum
  }

  /// Bytes of all subsections: a type byte, a counted name, a version, fields and subsections.
  private static func subsections(
    _ reader: inout JSONReader, depth: Int
  ) throws(WireError) -> UInt64 {
    guard depth < maxDepth else {
      throw reader.wrong("at most \(maxDepth) subsections in one another")
    }
    var sum: UInt64 = 0
    try reader.array { (reader) throws(WireError) in
      try reader.object { (reader, key) throws(WireError) in
        switch key {
        case "vmsd_name":
          sum = try add(sum, UInt64(try reader.string().utf8.count) + 1 + 1 + 4, reader)
        case "fields": sum = try add(sum, try fields(&reader), reader)
        case "subsections": sum = try add(sum, try subsections(&reader, depth: depth + 1), reader)
        default: try reader.skip()
        }
      }
    }
    return sum
  }

  private static func add(
    _ one: UInt64, _ other: UInt64, _ reader: JSONReader
  ) throws(WireError) -> UInt64 {
    let (sum, over) = one.addingReportingOverflow(other)
    guard !over else { throw reader.wrong("a size below 2^64") }
    return sum
  }

  /// Checks that `sections`, all FULL sections of the stream in order, are those that it describes.
  ///
  /// - Parameter sections: the headers with the bytes of their bodies, and the stream offset of
  ///   each.
  public func verify(
    _ sections: [(header: SectionHeader, bodySize: Int, position: UInt64)]
  ) throws(WireError) {
    for (section, device) in zip(sections, devices) {
      let header = section.header
      guard header.name == device.name, header.instance == device.instance else {
        throw WireError(
          .mismatch, at: section.position,
          "section \(header.name) \(header.instance), the VM description has \(device.name) \(device.instance)"
        )
      }
      guard UInt64(section.bodySize) == device.bodySize else {
        throw WireError(
          .mismatch, at: section.position,
          "\(header.name) \(header.instance) has \(section.bodySize) bytes, the VM description says \(device.bodySize)"
        )
      }
    }
    guard sections.count == devices.count else {
      throw WireError(
        .mismatch, at: sections.last?.position ?? 0,
        "\(sections.count) sections, the VM description has \(devices.count)")
    }
  }
}
