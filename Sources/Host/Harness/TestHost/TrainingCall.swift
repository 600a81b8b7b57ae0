import CHarness
import Glibc
import PluginAPI

/// One call of train(). Each thing that it is given lies in memory of its own, in front of a page
/// that nobody may touch; what it may not write to cannot be written to.
struct TrainingCall {
  /// As it was returned.
  let status: Int64
  /// What it has made, within the room.
  let bytes: [UInt8]
  /// Why it has failed; nil where no text that ends was written.
  let reason: String?
  /// Whether what alignment leaves behind the room is as it was.
  let isInRoom: Bool

  /// What one is given: the option, whole pages, and bytes of room for the file and for a reason.
  struct Order {
    var option: String
    var pages: [UInt8]
    var pageSize: Int
    var room: Int
    var errorRoom = 256
    /// What the room is full of.
    var filling = Filling.byte
  }

  /// Whose rule a fault breaks, wherever the file was wanted.
  static let rule = "options/trained"

  /// The library has train().
  init(_ library: Library, _ order: Order) {
    let pages = GuardedMemory(order.pages.count, alignment: 4096, kind: .lesson)
    // As many bytes as the memory was made for.
    order.pages.withUnsafeBytes {
      if let first = $0.baseAddress { memcpy(pages.base, first, $0.count) }
    }
    pages.allow(.reading)
    let name = GuardedMemory(order.option.utf8.count + 1, alignment: 1, kind: .options)
    for (index, byte) in (Array(order.option.utf8) + [0]).enumerated() {
      name.base.storeBytes(of: byte, toByteOffset: index, as: UInt8.self)
    }
    name.allow(.reading)
    let room = GuardedMemory(order.room, alignment: 1, kind: .room, filling: order.filling)
    let error = GuardedMemory(order.errorRoom, alignment: 1, kind: .room)
    let size = MemoryLayout<MultiFDTraining>.size
    let training = GuardedMemory(size, alignment: 8, kind: .params)
    training.base.bindMemory(to: MultiFDTraining.self, capacity: 1).initialize(
      to: MultiFDTraining(
        struct_size: UInt32(size), page_size: UInt32(order.pageSize),
        pages: UnsafePointer(pages.base.assumingMemoryBound(to: UInt8.self)),
        pages_num: UInt64(order.pages.count / order.pageSize),
        option: UnsafePointer(name.base.assumingMemoryBound(to: CChar.self)),
        contents: room.base.assumingMemoryBound(to: UInt8.self), capacity: UInt64(order.room),
        error: error.base.assumingMemoryBound(to: CChar.self), error_size: UInt64(order.errorRoom))
    )
    training.allow(.reading)
    charness_enter("train", 0, 0)
    charness_blame(Self.rule)
    // All that the struct points to is there until the end of this function.
    let status = library.methods.train!(
      UnsafePointer(training.base.assumingMemoryBound(to: MultiFDTraining.self)))
    charness_blame(nil)
    charness_leave()
    self.status = status
    isInRoom = room.isSlackIntact && error.isSlackIntact
    let made = max(0, min(Int(status), order.room))
    bytes = Array(UnsafeRawBufferPointer(start: room.base, count: made))
    let said = UnsafeRawBufferPointer(start: error.base, count: order.errorRoom)
    reason = said.firstIndex(of: 0).map { String(decoding: said[..<$0], as: UTF8.self) }
  }
}
