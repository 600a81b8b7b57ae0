import Transport
import Wire

/// What a connection must have said before it counts as a source's: on the main channel the file
/// header and a whole configuration, on a multifd channel the whole init packet, on a link a whole
/// hello. Before that nothing is taken from it, and nothing that it does ends a reception.
public struct Introduction: Sendable {
  private let limits: StreamDecoder.Limits
  private static let mainMagic: [UInt8] = [0x51, 0x45, 0x56, 0x4d]
  private static let channelMagic: [UInt8] = [0x11, 0x22, 0x33, 0x44]
  private static let linkMagic = Array("MFDL".utf8)
  private let takesControl: Bool

  /// For streams that keep to these limits.
  ///
  /// - Parameter takesControl: also for the connection of a `protect`, see `ControlHello`.
  public init(limits: StreamDecoder.Limits, takesControl: Bool = false) {
    self.limits = limits
    self.takesControl = takesControl
  }

  /// Tells what the first bytes of a connection say.
  public func examine(_ bytes: UnsafeRawBufferPointer) -> Lobby.Verdict {
    let first = Array(bytes.prefix(4))
    if Self.mainMagic.starts(with: first) {
      return first.count < 4 ? .undecided(needs: 4) : main(bytes)
    }
    if Self.channelMagic.starts(with: first) { return channel(bytes) }
    if Self.linkMagic.starts(with: first) { return hello(bytes) }
    if takesControl, ControlHello.magic.starts(with: first) { return control(bytes) }
    return .stranger(.foreign(first))
  }

  private func main(_ bytes: UnsafeRawBufferPointer) -> Lobby.Verdict {
    // A decoder of its own: the reception reads the same bytes again.
    var decoder = StreamDecoder(limits: limits)
    var at = 0
    do {
      while true {
        switch try decoder.next(UnsafeRawBufferPointer(rebasing: bytes[at...])) {
        case .needMore(let missing): return .undecided(needs: bytes.count + missing)
        case .element(.fileHeader, let consumed): at += consumed
        case .element: return .main
        }
      }
    } catch {
      // A source whose guest cannot be taken is one all the same, and its operator wants to know
      // why.
      if error.code == .unsupported || error.code == .mismatch { return .main }
      return .stranger(.broken(error.message))
    }
  }

  /// Its head says how long it is; what is wrong with it, whoever reads it says to the other side.
  private func hello(_ bytes: UnsafeRawBufferPointer) -> Lobby.Verdict {
    guard bytes.count >= LinkHello.headSize else { return .undecided(needs: LinkHello.headSize) }
    let head = UnsafeRawBufferPointer(rebasing: bytes[..<LinkHello.headSize])
    do {
      guard case .needMore(let rest) = try LinkHello.decode(head) else {
        return .letter(size: head.count)
      }
      return .letter(size: head.count + rest)
    } catch {
      return error.code == .badMagic
        ? .stranger(.foreign(Array(bytes.prefix(4)))) : .letter(size: head.count)
    }
  }

  private func control(_ bytes: UnsafeRawBufferPointer) -> Lobby.Verdict {
    guard bytes.count >= ControlHello.headSize else {
      return .undecided(needs: ControlHello.headSize)
    }
    guard let size = ControlHello.size(bytes) else {
      return .stranger(.broken("its message is longer than \(ControlHello.maxMessage) bytes"))
    }
    return .letter(size: size)
  }

  private func channel(_ bytes: UnsafeRawBufferPointer) -> Lobby.Verdict {
    guard bytes.count >= MultiFDInit.size else { return .undecided(needs: MultiFDInit.size) }
    do {
      _ = try MultiFDInit(decoding: bytes)
      return .channel
    } catch { return .stranger(.broken(error.message)) }
  }
}
