import PluginAPI

/// What a backend's table says, taken out of the memory in which it lies: bytes, texts, numbers.
///
/// It is what is judged, whoever has read it: the child that tries a library tells it
/// (``ProbeAccount``), and a library that is opened here is read again. Pointers in `bytes` are
/// those of the process that has read it, and nobody follows them.
struct TableCopy: Equatable {
  /// The table as far as this host knows it, zero beyond its own end. Of what is no table of this
  /// major, only the first ``headSize`` bytes.
  var bytes: [UInt8]
  /// name, version, wire_format, description; nil for NULL.
  var texts: [[UInt8]?] = []
  /// Its options, in order; none where their number or size makes no sense.
  var options: [Entry] = []
  /// payload_bound() of ``boundCounts`` pages of 4 KiB; empty where there is no such function.
  var bounds: [UInt64] = []

  /// One option.
  struct Entry: Equatable {
    /// The struct, as ``TableCopy/bytes`` has the table's.
    var bytes: [UInt8]
    /// name, help, default_value, and then the choices of an enum; nil for NULL.
    var texts: [[UInt8]?] = []
  }

  /// Magic, major, minor, size: the only bytes that have a meaning before these are known to be
  /// right.
  static let headSize = 12
  /// sizeof(MultiFDMethods) of ABI 1.0: no table of this major is smaller.
  static let smallest = 128
  /// sizeof(MultiFDOption) of ABI 1.0: no option of this major is smaller.
  static let smallestOption = 56
  /// No option is larger.
  static let largestOption = 4096
  /// The most options that make sense.
  static let mostOptions = 256
  /// More choices than an option may have, by one.
  static let mostChoices = 256
  /// More bytes than any text may have, by one: longer ones are not read to their end.
  static let longestText = 256
  /// Nothing, a page, a packet.
  static let boundCounts: [UInt32] = [0, 1, 128]

  /// Whether the head is that of a table of this major, whose members are where ours are.
  static func isOurs(_ head: [UInt8]) -> Bool {
    head.load(0, as: UInt32.self) == MULTIFD_PLUGIN_MAGIC
      && head.load(4, as: UInt16.self) == UInt16(MULTIFD_ABI_MAJOR)
      && head.load(8, as: UInt32.self) >= UInt32(smallest)
  }
}

extension TableCopy {
  /// Reads the table at `address`, which a library in this process has handed out.
  init(_ address: UnsafeRawPointer) {
    // The head, the table and whatever it points to is there by the backend's own word: the child
    // has read all of it before.
    bytes = Array(UnsafeRawBufferPointer(start: address, count: Self.headSize))
    guard Self.isOurs(bytes) else { return }
    bytes = copyTable(address, size: MemoryLayout<MultiFDMethods>.size)
    let members: [PartialKeyPath<MultiFDMethods>] = [
      \.name, \.version, \.wire_format, \.description,
    ]
    texts = members.map { Self.text(at: bytes.word($0)) }
    if let address = UnsafeRawPointer(bitPattern: bytes.word(\MultiFDMethods.payload_bound)) {
      // The header declares it, and it is not NULL.
      typealias Bound = @convention(c) (UInt32, UInt32) -> UInt64
      let bound = unsafeBitCast(address, to: Bound.self)
      bounds = Self.boundCounts.map { bound(4096, $0) }
    }
    let count = Int(bytes.member(\MultiFDMethods.options_num, as: UInt32.self))
    let stride = Int(bytes.member(\MultiFDMethods.option_size, as: UInt32.self))
    guard let first = UnsafeRawPointer(bitPattern: bytes.word(\MultiFDMethods.options)),
      count <= Self.mostOptions, (Self.smallestOption...Self.largestOption).contains(stride)
    else { return }
    options = (0..<count).map { Entry(first + $0 * stride, size: stride) }
  }

  /// A NUL-terminated text, without its NUL, as far as anybody wants it; nil for NULL.
  fileprivate static func text(at word: UInt) -> [UInt8]? {
    guard let address = UnsafeRawPointer(bitPattern: word) else { return nil }
    var bytes: [UInt8] = []
    // Closed by a NUL, as the header says: the child has read as far.
    while bytes.count < longestText {
      let byte = address.load(fromByteOffset: bytes.count, as: UInt8.self)
      if byte == 0 { break }
      bytes.append(byte)
    }
    return bytes
  }
}

extension TableCopy.Entry {
  fileprivate init(_ address: UnsafeRawPointer, size: Int) {
    bytes = copyStruct(address, has: size, size: MemoryLayout<MultiFDOption>.size)
    let members: [PartialKeyPath<MultiFDOption>] = [\.name, \.help, \.default_value]
    texts = members.map { TableCopy.text(at: bytes.word($0)) }
    guard bytes.member(\MultiFDOption.type, as: UInt32.self) == MULTIFD_OPTION_ENUM,
      let choices = UnsafeRawPointer(bitPattern: bytes.word(\MultiFDOption.choices))
    else { return }
    for index in 0..<TableCopy.mostChoices {
      // Entries up to the NULL are there, and the child has read as many.
      let word = choices.loadUnaligned(
        fromByteOffset: index * MemoryLayout<UInt>.size, as: UInt.self)
      guard let text = TableCopy.text(at: word) else { break }
      texts.append(text)
    }
  }
}

/// Members of a struct that is here as bytes. Loaded one by one: Swift takes most pointers for
/// non-null, which is yet to be seen.
extension [UInt8] {
  func load<T: BitwiseCopyable>(_ offset: Int, as type: T.Type) -> T {
    // The bytes stay where they are in this closure; beyond their end it traps.
    withUnsafeBytes { $0.loadUnaligned(fromByteOffset: offset, as: type) }
  }

  func member<Root, T: BitwiseCopyable>(_ member: PartialKeyPath<Root>, as type: T.Type) -> T {
    load(MemoryLayout<Root>.offset(of: member)!, as: type)
  }

  func word<Root>(_ member: PartialKeyPath<Root>) -> UInt { self.member(member, as: UInt.self) }
}

/// The first `size` bytes of the table at `address`, as `copyStruct` has them.
package func copyTable(_ address: UnsafeRawPointer, size: Int) -> [UInt8] {
  copyStruct(
    address, has: Int(address.loadUnaligned(fromByteOffset: 8, as: UInt32.self)), size: size)
}

/// The first `size` bytes of a backend's struct that has `has` bytes. Those that it does not have
/// (it is of an earlier minor) are zero, which is what an absent member counts as; what it has
/// beyond is cut.
func copyStruct(_ address: UnsafeRawPointer, has: Int, size: Int) -> [UInt8] {
  // `has` bytes are there by the backend's own word, which the probe's child has read up to ours.
  let bytes = UnsafeRawBufferPointer(start: address, count: min(has, size))
  return Array(bytes) + Array(repeating: 0, count: max(0, size - has))
}
