import PluginLoader
import Synchronization
import Transport
import Wire

/// The answering side of a link: what hellos say, and which of them fit together. One link comes to
/// a listener, its main connection first.
public final class LinkHost: Sendable {
  private struct Visitors {
    var session: VMUUID?
    var channels: Set<UInt16> = []
  }

  /// What can be decoded here, by the names of formats.
  private struct Shelf {
    let backends: [String: Backend]
    let since: ContinuousClock.Instant
  }

  private let pageSize: UInt32
  private let visitors = Mutex(Visitors())
  private let shelf = Mutex<Shelf?>(nil)
  private let interval: Duration

  /// For guests with pages of so many bytes. Nobody has come yet.
  ///
  /// - Parameter interval: what backends there are is looked up no more often than that, however
  ///   many say hello.
  public init(pageSize: Int, lookingEvery interval: Duration = .seconds(1)) {
    self.pageSize = UInt32(pageSize)
    self.interval = interval
  }

  /// Reads what a connection has brought.
  ///
  /// - Throws: what the other side is to be told, before its connection is closed.
  public func read(_ letter: [UInt8]) throws(LinkRefusal) -> LinkHello {
    let decoded = letter.withUnsafeBytes { bytes in
      Result { () throws(WireError) in try LinkHello.decode(bytes) }
    }
    let step: LinkHello.Step
    do { step = try decoded.get() } catch { throw LinkRefusal(error) }
    guard case .hello(let hello, _) = step else { throw LinkRefusal("the hello is not whole") }
    let capacity = UInt32(MultiFDPacketHeader.capacity(pageSize: Int(pageSize)))
    guard hello.pageSize == pageSize, hello.capacity == capacity else {
      throw LinkRefusal(
        "packets of \(hello.capacity) pages of \(hello.pageSize) bytes, "
          + "the answering side takes \(capacity) of \(pageSize)")
    }
    let obstacle = visitors.withLock { visitors -> LinkRefusal? in
      switch hello.role {
      case .main: return visitors.session == nil ? nil : .taken
      case .channel(let id):
        guard visitors.session == hello.session else {
          return LinkRefusal("channel \(id) of a session whose main connection is not here")
        }
        return visitors.channels.contains(id)
          ? LinkRefusal("channel \(id) is here already") : nil
      }
    }
    if let obstacle { throw obstacle }
    return hello
  }

  /// The hello is accepted: what it is cannot come again.
  public func admit(_ hello: LinkHello) {
    visitors.withLock { visitors in
      switch hello.role {
      case .main: visitors.session = hello.session
      case .channel(let id): visitors.channels.insert(id)
      }
    }
  }

  /// The main connection was refused in the end: another may come.
  public func forget() { visitors.withLock { $0 = Visitors() } }

  /// The backends that decode, by their formats.
  ///
  /// To know them means to look at every library in every folder, which takes milliseconds; and
  /// anybody can say a hello, to a thread that everybody waits for.
  private func backends(_ loader: PluginLoader) -> [String: Backend] {
    shelf.withLock { shelf in
      if let shelf, .now - shelf.since < interval { return shelf.backends }
      let here = loader.candidates().compactMap { try? $0.result.get() }
        .filter { $0.capabilities.have(.receive) }
      // Of several for one format the loader says which.
      let backends = Set(here.map(\.wireFormat)).map { format in
        (format, try? loader.load(wireFormat: format, to: .receive))
      }
      let found = Shelf(
        backends: Dictionary(uniqueKeysWithValues: backends).compactMapValues(\.self), since: .now)
      shelf = found
      return found.backends
    }
  }

  /// Agrees on formats that can be decoded here.
  ///
  /// - Parameter only: the operator wants this backend's and no other.
  /// - Throws: what the other side is to be told.
  public func agree(
    with hello: LinkHello, loader: PluginLoader, only: CompressionSpec?
  ) throws(LinkRefusal) -> LinkBackends {
    let pageSize = Int(hello.pageSize)
    if let only { return try Self.agree(with: hello, loader, only) }
    let here = hello.formats.isEmpty ? [:] : backends(loader)
    var found: [(backend: Backend, options: OptionValues)] = []
    for (index, format) in hello.formats.enumerated() {
      guard let backend = here[format.name] else { continue }
      do throws(LinkRefusal) {
        let files = try LinkFiles.find(hello, index + 1, loader)
        found.append((backend, try Self.options(of: backend, [], files)))
      } catch {
        // What was not asked for by name can be left out.
        if index < hello.required { throw error }
      }
    }
    let ours = found.compactMap { Self.format(of: $0.backend, pageSize: pageSize) }
    switch LinkAnswer(to: hello, having: ours) {
    case .accepted(let formats, _):
      let agreed = formats.agreed.compactMap { format in
        found.first { $0.backend.wireFormat == format.name }
      }
      return LinkBackends(formats, agreed, loader)
    case .refused:
      // For its text, all that is here.
      let all = here.values.compactMap { Self.format(of: $0, pageSize: pageSize) }
      guard
        case .refused(let refusal) = LinkAnswer(
          to: hello, having: all.sorted { $0.name < $1.name })
      else { throw LinkRefusal("what was asked for cannot be had") }
      throw refusal
    }
  }

  private static func agree(
    with hello: LinkHello, _ loader: PluginLoader, _ only: CompressionSpec
  ) throws(LinkRefusal) -> LinkBackends {
    do {
      let backend = try loader.load(only, to: .receive)
      let index = hello.formats.firstIndex { $0.name == backend.wireFormat }
      let said = try LinkFiles.find(hello, index.map { $0 + 1 }, loader, except: only)
      let options = try options(of: backend, only.assignments, said)
      try LinkFiles.compare(options, with: hello, index.map { $0 + 1 })
      guard let ours = format(of: backend, pageSize: Int(hello.pageSize)) else {
        return LinkBackends(.rawOnly, [], loader)
      }
      switch LinkAnswer(to: hello, having: [ours]) {
      case .refused(let refusal): throw refusal
      case .accepted(let formats, _):
        guard !formats.agreed.isEmpty else {
          throw LinkRefusal(
            "the answering side takes \(ours.name) alone, which the connecting side does not offer")
        }
        return LinkBackends(formats, [(backend, options)], loader)
      }
    } catch let refusal as LinkRefusal {
      throw refusal
    } catch { throw LinkRefusal("\(error)") }
  }

  private static func options(
    of backend: Backend, _ assignments: [CompressionSpec.Assignment], _ files: [OptionFile]
  ) throws(LinkRefusal) -> OptionValues {
    do {
      return try backend.parse(assignments.map { (key: $0.key, value: $0.value) }, files: files)
    } catch { throw LinkRefusal("\(error)") }
  }

  /// What can be decoded: a payload is read piece by piece, so as much as a link can declare.
  private static func format(of backend: Backend, pageSize: Int) -> LinkFormat? {
    guard (try? LinkOffer.format(of: backend, pageSize: pageSize)) != nil else { return nil }
    return LinkFormat(backend.wireFormat, bound: LinkFormat.maxBound)
  }
}

extension Socket {
  /// Answers a hello that is refused; nothing follows.
  public func refuse(_ refusal: LinkRefusal) {
    // Whoever does not want to hear it is gone.
    try? write(LinkAnswer.refused(refusal).encode())
    finishWriting()
  }
}

extension LinkRefusal {
  /// Another source's connection has come first.
  public static let taken = LinkRefusal("a guest of another session is here already")
}
