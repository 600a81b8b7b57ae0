import Glibc

/// Finds where an opaque section ends (SPECIFICATION section 5.1, rule 3).
///
/// A body has no length. It ends at the first `7e id` that something plausible follows. What
/// follows may not have arrived yet: then the search waits there, and goes on there.
struct FooterSearch {
  /// The section's id.
  var id: UInt32
  /// Ids of which PART or END may follow.
  var iterable: [UInt32]
  /// What follows the `00` that ends the sections.
  var following: Following
  /// Nothing comes after the bytes given.
  var inputEnded: Bool
  /// The longest VM description that is believed.
  var maxVMDescription: Int

  enum Following {
    /// A migration: the VM description.
    case description
    /// A checkpoint's RAM: VMSTATE_SIZE.
    case deviceState
    /// A blob of device state, which is whole and has FULL sections only.
    case nothing
  }

  enum Outcome: Equatable {
    /// The footer's last byte is the one before `end`.
    case found(end: Int)
    /// Not yet; the next search may begin at `resume`.
    case needMore(Int, resume: Int)
  }

  enum Verdict: Equatable {
    case yes
    case no
    /// So many bytes are missing.
    case undecided(Int)
  }

  /// Searches `bytes` for the footer from `start` on; `start` is at most `bytes.count`.
  func find(in bytes: UnsafeRawBufferPointer, from start: Int) -> Outcome {
    var at = start
    // memchr stays within the buffer: at < count, and count - at bytes follow.
    while at < bytes.count,
      let hit = memchr(bytes.baseAddress! + at, 0x7e, bytes.count - at)
    {
      at = UnsafeRawPointer(hit) - bytes.baseAddress!
      guard bytes.count - at >= 5 else { return .needMore(5 - (bytes.count - at), resume: at) }
      if bytes.u32(at + 1) == id {
        switch successor(in: bytes, at: at + 5) {
        case .yes: return .found(end: at + 5)
        case .undecided(let missing) where !inputEnded: return .needMore(missing, resume: at)
        case .no, .undecided: break
        }
      }
      at += 1
    }
    return .needMore(1, resume: bytes.count)
  }

  /// Whether what begins at `at` can follow a section.
  func successor(in bytes: UnsafeRawBufferPointer, at: Int) -> Verdict {
    let count = bytes.count - at
    guard count > 0 else { return .undecided(1) }
    switch bytes[at] {
    case 1...3 where following == .nothing, 8 where following == .nothing: return .no
    case 0: return end(in: bytes, at: at)
    case 1, 4: return named(in: bytes, at: at)
    case 2, 3:
      guard count >= 5 else { return .undecided(5 - count) }
      return iterable.contains(bytes.u32(at + 1)) ? .yes : .no
    case 8:
      guard count >= 5 else { return .undecided(5 - count) }
      let (command, length) = (bytes.u16(at + 1), bytes.u16(at + 3))
      // A command that is refused is still the end of the section before it.
      return (1...11).contains(command) && (command != 2 || length == 4) ? .yes : .no
    default: return .no
    }
  }

  /// A START or FULL: u32 id below 2^24, a printable name, instance, version.
  private func named(in bytes: UnsafeRawBufferPointer, at: Int) -> Verdict {
    let count = bytes.count - at
    guard count >= 2 else { return .undecided(2 - count) }
    guard bytes[at + 1] == 0 else { return .no }
    guard count >= 6 else { return .undecided(6 - count) }
    let length = Int(bytes[at + 5])
    guard length > 0 else { return .no }
    let name = bytes.part(at + 6..<min(bytes.count, at + 6 + length))
    guard name.isPrintable else { return .no }
    let size = 6 + length + 8
    return count >= size ? .yes : .undecided(size - count)
  }

  /// EOF: the stream's last byte, or followed by what follows EOF.
  private func end(in bytes: UnsafeRawBufferPointer, at: Int) -> Verdict {
    let count = bytes.count - at
    if count == 1 {
      return inputEnded ? .yes : .undecided(following == .deviceState ? 4 : 6)
    }
    switch following {
    case .nothing: return .no
    case .deviceState:
      guard count >= 5 else { return .undecided(5 - count) }
      return bytes.u32(at + 1) == COLOMessage.vmstateSize.rawValue ? .yes : .no
    case .description:
      guard bytes[at + 1] == 6 else { return .no }
      guard count >= 7 else { return .undecided(7 - count) }
      let fits = bytes.u32(at + 2) <= UInt32(clamping: maxVMDescription)
      return fits && bytes[at + 6] == UInt8(ascii: "{") ? .yes : .no
    }
  }
}
