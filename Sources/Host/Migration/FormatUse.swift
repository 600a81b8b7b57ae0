/// How a channel, or several, have used one of the formats that they could choose from.
public struct FormatUse: Codable, Equatable, Sendable {
  /// The backend's name.
  public var format: String
  /// Packets that were sent so because it is the fastest.
  public var best: Int
  /// Because their pages look random, and nothing has come of encoding such pages.
  public var incompressible: Int
  /// Packets of other formats whose pages it has encoded too, for nobody, to learn what it makes of
  /// them.
  public var trials: Int
  /// Bytes a second that one channel encodes; nil where nothing was, or nothing has to be.
  public var rate: Double?
  /// Bytes of pages by bytes of payload.
  public var ratio: Double
  /// Bytes a second that get away from a channel while the link is full, as it was seen last.
  public var link: Double

  /// All packets.
  public var packets: Int { best + incompressible }

  init(_ format: String, _ use: FormatChooser.Use, link: Double) {
    self.format = format
    best = (use.packets[.best] ?? 0) + (use.packets[.only] ?? 0)
    incompressible = use.packets[.incompressible] ?? 0
    trials = use.trials
    rate = use.encode > 0 ? 1e9 / use.encode : nil
    ratio = use.payload > 0 ? 1 / use.payload : 1
    self.link = link > 0 ? 1e9 / link : 0
  }

  /// Those of all channels together: packets are added, the figures are those of the channel with
  /// the most of them.
  public static func sum(_ channels: [[FormatUse]]) -> [FormatUse] {
    guard var all = channels.max(by: { $0.packets < $1.packets }) else { return [] }
    for index in all.indices {
      let same = channels.compactMap { index < $0.count ? $0[index] : nil }
      all[index].best = same.reduce(0) { $0 + $1.best }
      all[index].incompressible = same.reduce(0) { $0 + $1.incompressible }
      all[index].trials = same.reduce(0) { $0 + $1.trials }
    }
    return all
  }
}

extension [FormatUse] {
  fileprivate var packets: Int { reduce(0) { $0 + $1.packets } }
}
