import TestSupport

/// A way of a guest over links.
struct RelayWay: CustomStringConvertible {
  private enum Kind {
    case passage(RelayPassage)
    case layover(Layover)
  }

  /// What `--compression` selects it by.
  let name: String
  /// What it is there for; nil: a cell of the table.
  let title: String?
  private let kind: Kind

  /// A cell of the table.
  init(_ passage: RelayPassage, _ name: String) {
    (kind, self.name, title) = (.passage(passage), name, nil)
  }

  private init(_ title: String, _ name: String, _ passage: RelayPassage) {
    (kind, self.name, self.title) = (.passage(passage), name, title)
  }

  private init(_ title: String, _ name: String, _ layover: Layover) {
    (kind, self.name, self.title) = (.layover(layover), name, title)
  }

  var source: QEMUVersion {
    switch kind {
    case .passage(let passage): passage.source
    case .layover(let layover): layover.source
    }
  }

  var destination: QEMUVersion {
    switch kind {
    case .passage(let passage): passage.destination
    case .layover(let layover): layover.destination
    }
  }

  var channels: Int {
    switch kind {
    case .passage(let passage): passage.channels
    case .layover(let layover): layover.channels
    }
  }

  var machine: String { source.machine(with: destination) }

  var description: String {
    switch kind {
    case .passage(let passage): passage.description
    case .layover(let layover): layover.description
    }
  }

  /// `x4 unix, no rp`: what is not said by the place in the table.
  var small: String {
    guard case .passage(let passage) = kind else { return "" }
    return "x\(passage.channels)\(passage.isLocal ? "u" : "t")\(passage.returnPath ? "r" : "-")"
  }

  /// Moves the guest, which checks its memory in the end.
  func run(_ saved: SavedGuest, _ arguments: [String]) throws {
    switch kind {
    case .passage(let passage): _ = try passage.run(saved, arguments)
    case .layover(let layover): _ = try layover.run(saved, arguments)
    }
  }

  /// What the table has no place for.
  static let all: [RelayWay] = {
    func passage(
      _ relays: [String?], from: String = "none", to: String = "none", channels: Int = 2,
      _ adjust: (inout RelayPassage) -> Void = { _ in }
    ) -> RelayPassage {
      var passage = RelayPassage(.v111, .v111, channels: channels, compression: nil)
      (passage.relays, passage.sourceMethod, passage.destinationMethod) = (relays, from, to)
      adjust(&passage)
      return passage
    }
    func layover(_ adjust: (inout Layover) -> Void) -> Layover {
      var layover = Layover(.v111, .v111)
      adjust(&layover)
      return layover
    }
    return [
      .init("one relay, QEMU to QEMU, nothing changed", "none", passage([nil])),
      .init("the same without multifd", "none", passage([nil], channels: 0)),
      .init("the same, zstd at both ends", "zstd", passage([nil], from: "zstd", to: "zstd")),
      .init("one relay, none to a zstd destination", "zstd", passage(["zstd"], to: "zstd")),
      .init(
        "one relay, zlib to a zstd destination", "zstd",
        passage(["zstd"], from: "zlib", to: "zstd", channels: 4) { $0.source = .v100 }),
      .init("one relay, zstd to a destination without", "zstd", passage(["nocomp"], from: "zstd")),
      .init(
        "a zstd source, its payload untouched on the link", "zstd",
        passage([nil, nil], from: "zstd")
      ),
      .init(
        "a zlib source of 7.2, and a zlib destination", "zlib",
        passage([nil, "zlib"], from: "zlib", to: "zlib") { passage in
          (passage.source, passage.destination) = (.v72, .v72)
        }),
      .init("a zstd source, lz4 on the link", "lz4", passage(["lz4", nil], from: "zstd")),
      .init("lz4 on the link, a zstd destination", "lz4", passage(["lz4", "zstd"], to: "zstd")),
      .init("three relays, lz4 passes the one in the middle", "lz4", passage(["lz4", nil, nil])),
      .init("three relays, lz4 becomes zstd", "zstd", passage(["lz4", "zstd", nil], channels: 4)),
      .init(
        "three relays, zstd of the source all the way", "zstd",
        passage([nil, nil, "zstd"], from: "zstd", to: "zstd")),
      .init(
        "three relays, lz4 comes out in the middle", "lz4",
        passage(["lz4", "nocomp", nil]) { $0.isLocal = true }),
      .init("a store on the way", "zstd", layover { _ in }),
      .init("two stores, UNIX sockets", "zstd", layover { ($0.stores, $0.isLocal) = (2, true) }),
      .init(
        "two stores, 10.0 to 11.1, auto", "auto",
        layover { layover in
          (layover.source, layover.stores) = (.v100, 2)
          (layover.into, layover.out, layover.channels) = ("auto", "auto", 4)
        }),
      .init("a store, nothing said", "none", layover { ($0.into, $0.out) = (nil, nil) }),
      .init(
        "a store, without multifd", "none",
        layover { ($0.into, $0.out, $0.channels) = (nil, nil, 0) }),
    ]
  }()
}
