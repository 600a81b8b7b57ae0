import Migration
import Testing

/// All on a simulated clock, so what is asserted is the same on every machine.
@Suite("FormatChooser")
struct FormatChooserTests {
  /// The chooser's result and the best that one index alone achieves.
  private func race(
    _ simulator: LinkSimulator, seconds: Double
  ) -> (auto: LinkSimulator.Result, best: LinkSimulator.Result, fixed: [LinkSimulator.Result]) {
    let fixed = simulator.fixed(seconds: seconds)
    return (simulator.run(seconds: seconds), fixed.max { $0.rate < $1.rate }!, fixed)
  }

  /// Slow links need longer until the start no longer counts.
  private func seconds(_ rate: Double) -> Double { rate < 2 ? 10 : 4 }

  @Test(
    "Random data: within 3 % of pages as they are", arguments: [0.2, 1, 2.5, 5, 10, 25, 40],
    [1, 2, 8])
  func noise(rate: Double, channels: Int) {
    let simulator = LinkSimulator(channels: channels, link: { _ in rate }, guest: { _ in .noise })
    let time = seconds(rate)
    let (auto, raw) = (simulator.run(seconds: time), simulator.fixed(0, seconds: time))
    #expect(auto.loss(to: raw) < 0.03)
  }

  @Test(
    "A limited link: within 5 % of the best one, or better",
    arguments: [0.2, 1, 2.5, 5, 10, 25, 40], [1, 2, 8])
  func text(rate: Double, channels: Int) {
    let simulator = LinkSimulator(channels: channels, link: { _ in rate })
    let race = race(simulator, seconds: seconds(rate))
    #expect(race.auto.loss(to: race.best) < 0.05)
  }

  @Test(
    "A guest of both kinds: within 5 % of the best one, or better",
    arguments: [0.2, 1, 2.5, 5, 10, 25, 40], [LinkSimulator.Guest.mixed, .mixedPages])
  func mixed(rate: Double, guest: LinkSimulator.Guest) {
    for channels in [1, 4] {
      let simulator = LinkSimulator(channels: channels, link: { _ in rate }, guest: { _ in guest })
      let race = race(simulator, seconds: seconds(rate))
      #expect(race.auto.loss(to: race.best) < 0.05, "\(channels) channels")
    }
  }

  @Test("Where two take turns it is quicker than either")
  func turns() {
    let race = race(LinkSimulator(channels: 2, link: { _ in 10 }), seconds: 4)
    #expect(race.auto.loss(to: race.best) < -0.1)
  }

  @Test("A link becomes slow: the choice follows within a second", arguments: [1, 4, 8])
  func slower(channels: Int) {
    let simulator = LinkSimulator(channels: channels, link: { $0 < 3 ? 10 : 0.2 })
    let result = simulator.run(seconds: 6)
    // zstd and zlib, which have the smallest payloads.
    #expect(result.part(of: [2, 3], 10..<30) < (channels > 4 ? 1 : 0.1))
    #expect(result.part(of: [2, 3], 40..<60) > 0.85)
  }

  @Test("A link becomes fast: the choice follows within a second", arguments: [1, 4, 8])
  func faster(channels: Int) {
    let simulator = LinkSimulator(channels: channels, link: { $0 < 3 ? 0.2 : 10 })
    let result = simulator.run(seconds: 6)
    #expect(result.moved(40..<50) > 0.9 * result.moved(50..<60))
  }

  @Test("Far decoders that are slow are told from a slow link", arguments: [2.5, 10, 25], [1, 4])
  func decoders(rate: Double, channels: Int) {
    // A slow decoder is met once before it is known.
    let seconds = 6.0
    var lz4 = SimulatedFormat.lz4
    lz4.decode = 150
    var simulator = LinkSimulator(
      formats: [lz4, .zstd], channels: channels, link: { _ in rate })
    var race = race(simulator, seconds: seconds)
    #expect(race.auto.loss(to: race.best) < 0.05)
    // Both are.
    (lz4.decode, simulator.formats) = (400, [])
    var zstd = SimulatedFormat.zstd
    zstd.decode = 150
    simulator.formats = [lz4, zstd]
    race = self.race(simulator, seconds: seconds)
    #expect(race.auto.loss(to: race.best) < 0.05)
  }

  @Test("A far side that is held up itself is like a slow link", arguments: [0.025, 0.125, 0.5])
  func far(rate: Double) {
    let simulator = LinkSimulator(channels: 2, link: { _ in 10 }, far: rate)
    let race = race(simulator, seconds: 6)
    #expect(race.auto.loss(to: race.fixed[0]) < -0.2)
  }

  @Test("A guest that changes its nature", arguments: [1.0, 10])
  func nature(rate: Double) {
    let simulator = LinkSimulator(
      channels: 2, link: { _ in rate }, guest: { Int($0) % 4 < 2 ? .text : .noise })
    let race = race(simulator, seconds: 8)
    #expect(race.auto.loss(to: race.best) < 0.05)
  }

  @Test("Pages that look random and are not: a probe finds out")
  func repeated() {
    let simulator = LinkSimulator(link: { _ in 1 }, guest: { _ in .repeated })
    let result = simulator.run(seconds: 8)
    #expect(result.moved(40..<80) > 2 * 4 * 125)
  }

  @Test("A link that is never full: raw, unless its copy is dearer than a codec")
  func unlimited() {
    var simulator = LinkSimulator(channels: 2, link: { _ in 400 }, copy: 8)
    var race = race(simulator, seconds: 3)
    #expect(race.auto.loss(to: race.fixed[0]) < 0.03)
    simulator.copy = 1
    simulator.formats[0].encode = 2000
    race = self.race(simulator, seconds: 3)
    #expect(race.auto.loss(to: race.fixed[1]) < 0.05)
  }

  @Test("A slow source, and small buffers")
  func others() {
    let slow = LinkSimulator(channels: 2, link: { _ in 1 }, source: 100)
    var race = race(slow, seconds: 8)
    #expect(race.auto.loss(to: race.best) < 0.05)
    for rate in [0.2, 1, 10] {
      let small = LinkSimulator(
        channels: 2, link: { _ in rate }, sendBuffer: 300e3, receiveBuffer: 300e3)
      race = self.race(small, seconds: seconds(rate))
      #expect(race.auto.loss(to: race.best) < 0.05, "\(rate) Gbit/s")
    }
  }

  @Test("It says what it has chosen and why")
  func report() {
    let chooser = LinkSimulator(link: { _ in 0.2 }).run(seconds: 4).chooser
    #expect(abs(chooser.link * 25e6 / 1e9 - 1) < 0.1)
    let uses = chooser.uses
    #expect(uses.count == 5)
    let zstd = uses[2]
    #expect(abs(zstd.payload * 3.5 - 1) < 0.1 && abs(zstd.encode * 0.4 - 1) < 0.2)
    let packets = uses.flatMap { Array($0.packets.values) }.reduce(0, +)
    #expect(Double(zstd.packets[.best] ?? 0) > 0.8 * Double(packets))
    #expect(uses.dropFirst().allSatisfy { $0.trials >= 2 || ($0.packets[.best] ?? 0) > 0 })
    var none = FormatChooser(formats: 0)
    let choice = none.choose(.plain, bytes: 4096)
    #expect(choice.index == 0 && choice.reason == .only)
  }
}
