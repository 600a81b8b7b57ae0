/// What happens to a guest: how it is protected, what goes wrong one after the other, and what it
/// loses at last. All of it from a seed, before anything has happened.
public struct FaultPlan: Sendable, Equatable {
  /// A fault, when it comes, and how a standby that was lost comes back.
  public struct Step: Sendable, Equatable {
    /// What goes wrong.
    public let fault: Fault
    /// Milliseconds behind a checkpoint: it may come anywhere between two of them, or in one.
    public let moment: Int
    /// The next standby begins with an empty store and all of the disks, and the store of the one
    /// that was lost is looked at before; else it goes on with what there is (`--adopt`).
    public let beginsAnew: Bool
    /// How good the cable is until all is well again.
    public let weather: Cable.Weather

    /// What may become of the protection.
    public var course: Fault.Course {
      fault.course == .goesOn && weather.loss > 0 ? .either : fault.course
    }
  }

  /// Milliseconds between checkpoints.
  public let delay: Int
  /// `--checkpoint` has a least and a most.
  public let isAdaptive: Bool
  /// multifd channels: where there are some the standby's backend may fail.
  public let channels: Int
  /// What the standby does at last.
  public let onLoss: Protection.OnLoss
  /// What goes wrong.
  public let steps: [Step]
  /// What ends it.
  public let loss: WholeGuest.Loss

  /// The plan for guest `number`: the same for the same seed.
  ///
  /// - Parameter hasRoom: file systems can be filled here.
  public init(seed: UInt64, guest number: Int, hasRoom: Bool) {
    var random = SeededGenerator(seed: seed &+ UInt64(number) &* 0x9e37_79b9)
    delay = Self.one(of: [20, 100, 100, 500], &random)
    isAdaptive = Int.random(in: 0..<3, using: &random) == 0
    channels = Self.one(of: [0, 0, 2], &random)
    onLoss = Self.one(of: [.hold, .hold, .hold, .failover, .spare], &random)
    var steps: [Step] = []
    for _ in 0..<Int.random(in: 3...10, using: &random) {
      // The numbers that are drawn do not depend on what this machine has.
      let fault = Self.fault(onLoss, channels, &random)
      let moment = Int.random(in: 0...delay + 30, using: &random)
      let beginsAnew = Int.random(in: 0..<3, using: &random) == 0
      var weather = Self.drizzle(&random)
      if onLoss != .hold { weather.loss = 0 }
      guard hasRoom || fault != .full else { continue }
      steps.append(
        Step(fault: fault, moment: moment, beginsAnew: beginsAnew, weather: weather))
    }
    self.steps = steps
    let losses: [WholeGuest.Loss] =
      onLoss == .hold ? WholeGuest.Loss.allCases : [.primary, .primary, .qemu]
    let loss = Self.one(of: losses, &random)
    self.loss = hasRoom || loss != .full ? loss : .primary
  }

  private static func one<T>(of values: [T], _ random: inout SeededGenerator) -> T {
    values[Int.random(in: 0..<values.count, using: &random)]
  }

  /// A standby that fails over by itself takes a primary that it cannot reach for dead, and without
  /// a fence two copies run then, which is what its manual says: none of the faults that have a
  /// standby look so come to it.
  private static func fault(
    _ onLoss: Protection.OnLoss, _ channels: Int, _ random: inout SeededGenerator
  ) -> Fault {
    while true {
      let fault = any(&random)
      if case .backend = fault, channels == 0 { continue }
      if case .kill([.spare]) = fault, onLoss != .spare { continue }
      if onLoss != .hold, fault.course == .breaks || fault.course == .either { continue }
      return fault
    }
  }

  private static func any(_ random: inout SeededGenerator) -> Fault {
    switch Int.random(in: 0..<21, using: &random) {
    case 0...3: .weather(weather(&random), milliseconds: time(1000...5000, &random))
    case 4: .unplugged(milliseconds: someTime(&random))
    case 5...6: .cut(one(of: Fault.Connections.allCases, &random))
    case 7...10:
      .stop(
        one(
          of: [
            [.guardian, .worker], [.worker], [.guardian], [.keeper, .protector], [.protector],
            [.keeper], [.qemu],
          ], &random), milliseconds: someTime(&random))
    case 11...13:
      .kill(
        one(
          of: [
            [.guardian, .worker], [.worker], [.guardian], [.spare], [.protector],
            [.keeper, .protector], [.keeper],
          ], &random))
    case 14: .term(one(of: [.guardian, .keeper], &random))
    case 15: .full
    case 16...17:
      .short(
        one(of: Fault.Resource.allCases, &random),
        one(of: [.worker, .worker, .guardian, .protector], &random),
        kibibytes: one(of: [0, 128, 1024, 16384], &random),
        milliseconds: time(1000...3000, &random))
    case 18: .starved(mebibytes: time(200...1800, &random))
    default: .backend(one(of: Fault.Misdeed.allCases, &random))
    }
  }

  /// Mostly none, and never so bad that a guest would not come through in a minute.
  private static func drizzle(_ random: inout SeededGenerator) -> Cable.Weather {
    let (latency, jitter) = (time(1...10, &random), time(0...5, &random))
    let loss = max(0, time(-5...5, &random))
    guard Int.random(in: 0..<4, using: &random) == 0 else { return Cable.Weather() }
    return Cable.Weather(
      latency: .milliseconds(latency), jitter: .milliseconds(jitter), loss: loss)
  }

  private static func weather(_ random: inout SeededGenerator) -> Cable.Weather {
    let latency = Duration.milliseconds(Int.random(in: 1...40, using: &random))
    return switch Int.random(in: 0..<3, using: &random) {
    case 0: Cable.Weather(latency: latency)
    case 1:
      Cable.Weather(
        latency: latency, jitter: .milliseconds(Int.random(in: 2...30, using: &random)))
    default:
      Cable.Weather(
        latency: latency, jitter: .milliseconds(Int.random(in: 0...10, using: &random)),
        loss: Int.random(in: 2...40, using: &random))
    }
  }

  private static func time(_ range: ClosedRange<Int>, _ random: inout SeededGenerator) -> Int {
    Int.random(in: range, using: &random)
  }

  /// Most are short.
  private static func someTime(_ random: inout SeededGenerator) -> Int {
    let range = one(
      of: [50...Fault.blink, 50...Fault.blink, 1000...3000, Fault.long...6000], &random)
    return time(range, &random)
  }
}

extension FaultPlan: CustomStringConvertible {
  /// How the guest is protected, in a line.
  public var description: String {
    "checkpoints " + (isAdaptive ? "5ms..10s" : "\(delay)ms")
      + ", \(onLoss), \(channels) channels, \(steps.count) faults, then \(loss)"
  }
}

extension FaultPlan.Step: CustomStringConvertible {
  /// For a list.
  public var description: String {
    let wet = weather == Cable.Weather() ? "" : " in \(weather)"
    return "\(fault)\(wet), after \(moment) ms" + (beginsAnew ? ", anew" : "")
  }
}
