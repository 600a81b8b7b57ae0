import Transport

/// A pair of filter-redirectors between an interface of a guest and its network: one catches what
/// the guest sends and writes it to a chardev, the other puts on the wire what it reads from
/// another.
///
/// A pair is put in and taken out once. What is wrong with it (its holder has died, perhaps in the
/// middle of a packet) is mended by another pair: that is put in, behind which the old one gets
/// nothing more, then the old one is taken out. In between no packet gets past them.
public struct Redirectors: Sendable {
  /// A command of QEMU's monitor.
  public struct Command {
    /// `object-add`.
    public var name: String
    /// Its arguments.
    public var arguments: [String: Any]

    fileprivate init(_ name: String, _ arguments: [String: Any]) {
      (self.name, self.arguments) = (name, arguments)
    }
  }

  /// Tells what is ours among a QEMU's objects and chardevs.
  private static let prefix = "multifd-packets-"

  private let net: String
  private let number: Int
  private let folder: String

  /// A pair for an interface.
  ///
  /// - Parameters:
  ///   - net: the `id` of the `-netdev`.
  ///   - number: no other pair in this QEMU has it (``nextNumber(_:)``).
  ///   - folder: where QEMU makes its two sockets. Whoever can connect to them gets the guest's
  ///     packets.
  public init(net: String, number: Int, folder: String) {
    (self.net, self.number, self.folder) = (net, number, folder)
  }

  /// Where the holder connects to for what the guest sends.
  public var from: Endpoint { .unix(path: path("from")) }
  /// Where it connects to for what is to go out.
  public var to: Endpoint { .unix(path: path("to")) }

  /// First: makes the sockets. Then the holder connects: a packet that is caught with nobody there
  /// is lost.
  public var sockets: [Command] {
    ["from", "to"].map { end in
      let address: [String: Any] = ["type": "unix", "data": ["path": path(end)]]
      let data: [String: Any] = ["addr": address, "server": true, "wait": false]
      return Command(
        "chardev-add", ["id": name(end), "backend": ["type": "socket", "data": data]])
    }
  }

  /// Then: catches what the guest sends. A guest's packet meets the filter first that was put in
  /// last; the other way round, what is let out would be caught again.
  public var filters: [Command] {
    [filter("out", "indev", "to"), filter("catch", "outdev", "from")]
  }

  /// Before it is taken out: the guest's packets are not caught any more. Those that were go out
  /// when they are let through.
  public var release: [Command] { [Command("object-del", ["id": name("catch")])] }

  /// At last: takes out the rest. What QEMU has not read by now is lost.
  public var rest: [Command] {
    [Command("object-del", ["id": name("out")])]
      + ["to", "from"].map { Command("chardev-remove", ["id": name($0)]) }
  }

  /// A number that no pair has.
  ///
  /// - Parameter names: of QEMU's objects (`qom-list /objects`) and chardevs (`query-chardev`).
  public static func nextNumber(_ names: [String]) -> Int {
    (names.compactMap(parse).map(\.number).max() ?? 0) + 1
  }

  /// Takes out what others of this program have left in a QEMU, but for these pairs.
  ///
  /// - Parameters:
  ///   - objects: names of its objects.
  ///   - chardevs: labels of its chardevs.
  ///   - numbers: the pairs that stay.
  public static func leftovers(
    objects: [String], chardevs: [String], but numbers: Set<Int> = []
  ) -> [Command] {
    func ours(_ names: [String], _ end: String? = nil) -> [String] {
      names.filter { name in
        guard let (number, what) = parse(name) else { return false }
        return !numbers.contains(number) && what == end ?? what
      }
    }
    // Chardevs last: one that a filter uses cannot be removed.
    return (ours(objects, "catch") + ours(objects, "out")).map { Command("object-del", ["id": $0]) }
      + ours(chardevs).map { Command("chardev-remove", ["id": $0]) }
  }

  /// The folders of sockets that ``leftovers(objects:chardevs:but:)`` takes out: of what a guest's
  /// QEMU says only those that have the name of one of ours.
  ///
  /// - Parameter files: of chardevs, by label, what `query-chardev` calls their `filename`:
  ///   `disconnected:unix:PATH,server=on`.
  public static func folders(
    of files: [String: String], but numbers: Set<Int> = []
  ) -> Set<String> {
    let folders = files.compactMap { label, file -> String? in
      guard let (number, end) = parse(label), !numbers.contains(number),
        let start = file.firstRange(of: "unix:/")?.upperBound,
        let end = file.firstRange(of: "/packets-\(number)-\(end),")?.lowerBound, start <= end
      else { return nil }
      let folder = "/" + file[start..<end]
      return folder.contains(/\/multifd-[A-Za-z0-9]{6}$/) ? folder : nil
    }
    return Set(folders)
  }

  private func name(_ end: String) -> String { "\(Self.prefix)\(number)-\(end)" }

  private func path(_ end: String) -> String { "\(folder)/packets-\(number)-\(end)" }

  private func filter(_ end: String, _ device: String, _ chardev: String) -> Command {
    // With vnet_hdr_support a packet says how long its virtio-net header is, and netdevs with
    // headers and without look the same.
    Command(
      "object-add",
      [
        "qom-type": "filter-redirector", "id": name(end), "netdev": net, "queue": "rx",
        device: name(chardev), "vnet_hdr_support": true,
      ])
  }

  private static func parse(_ name: String) -> (number: Int, end: String)? {
    guard name.hasPrefix(prefix) else { return nil }
    let words = name.dropFirst(prefix.count).split(separator: "-", omittingEmptySubsequences: false)
    guard words.count == 2, let number = Int(words[0]) else { return nil }
    return (number, String(words[1]))
  }
}
