import Foundation

extension WholeGuest {
  /// What became of a protection that met a fault.
  public struct Survival: Sendable {
    /// The standby was given up, and another one has taken its place; how it ended.
    public var standbysCode: Int32?
    /// A standby that had too little memory, between the two, ended with this.
    public var starvedCode: Int32?
    /// The store and the images of the one that was given up were looked at: sectors.
    public var sectors: Int?
    /// How `multifd protect` ended, where another one was started.
    public var protectsCode: Int32?
    /// How long the guest was silent.
    public var silence = Duration.zero
  }

  /// Lets something go wrong, sees to it that the guest is protected again, and judges how it is.
  ///
  /// - Throws: ``Inconsistency`` where something is not as it should be; ``LabError`` where it did
  ///   not come so far.
  public func suffer(_ step: FaultPlan.Step) throws -> Survival {
    let fault = step.fault
    let lost = Moment(protect)
    setup.cable?.set(step.weather)
    let undo = try apply(step)
    var survival = Survival()
    if fault.course == .falls || protect?.process.isRunning == false {
      survival.protectsCode = try startProtectAgain(fault)
    }
    if try isGivenUp(step.course, since: lost) {
      guard step.course != .goesOn else {
        throw Inconsistency("a standby that was there was given up: \(complaints)")
      }
      _ = try waitAlone(since: lost)
      survival.silence = silence(since: lost.time)
      undo()
      survival.standbysCode = try awaitStandbysEnd(fault)
      if step.beginsAnew {
        survival.sectors = try lookOffline().disks.reduce(0) { $0 + $1.sectors }
      }
      if case .starved(let most) = fault { survival.starvedCode = try startStarved(most) }
      if survival.starvedCode != nil || fault.kind != "starved" {
        try startAgain(adopting: !step.beginsAnew)
      }
      try waitCheckpoint(3)
    } else {
      undo()
      survival.silence = silence(since: lost.time)
    }
    setup.cable?.set(Cable.Weather())
    try waitHeard()
    try judgeHealth()
    guard survival.silence <= Self.patience + fault.ownSilence else {
      throw Inconsistency("the guest was silent for \(survival.silence.inSeconds) s")
    }
    return survival
  }

  // MARK: Faults

  /// Begins one, and ends it if it lasts for a time; gives what ends it where it does not.
  private func apply(_ step: FaultPlan.Step) throws -> () -> Void {
    switch step.fault {
    case .weather(let weather, let time):
      setup.cable?.set(weather)
      rest(time)
      setup.cable?.set(step.weather)
    case .unplugged(let time):
      setup.cable?.set(Cable.Weather(loss: 1000))
      rest(time)
      setup.cable?.set(step.weather)
    case .cut(let connections):
      if connections != .memory { links[1].cutAll() }
      if connections != .disks { links[0].cutAll() }
    case .stop(let programs, let time):
      let processes = programs.compactMap(pid)
      for process in processes { kill(process, SIGSTOP) }
      rest(time)
      for process in processes { kill(process, SIGCONT) }
    case .kill(let programs):
      // A keeper would start another protector, and a guardian tell how its worker ended.
      if programs.count > 1 { for process in programs.compactMap(pid) { kill(process, SIGSTOP) } }
      let processes = programs.compactMap(pid)
      for process in processes { kill(process, SIGKILL) }
      if programs.contains(.spare) { place.detach() }
    case .term(let program):
      if let process = pid(program) { kill(process, SIGTERM) }
    case .starved: signalStandby(SIGKILL)
    case .full:
      try room?.fill()
      return { [room] in room?.empty() }
    case .short(let resource, let program, let more, let time):
      guard let process = pid(program) else { break }
      try Limits.set(process, resource, more: more << 10)
      rest(time)
      try? Limits.lift(process, resource)
    case .backend(let misdeed):
      try backend?.misbehave(misdeed)
      return { [backend] in backend?.behave() }
    }
    return {}
  }

  private func rest(_ milliseconds: Int) {
    Thread.sleep(forTimeInterval: Double(milliseconds) / 1000)
  }

  /// The processes that are there now; nil where there is none.
  func pid(_ program: Fault.Program) -> pid_t? {
    switch program {
    case .guardian: standby.process.isRunning ? standby.process.pid : nil
    case .worker: standby.process.worker
    case .spare: place.qemus.first
    case .keeper: protect?.process.isRunning == true ? protect?.process.pid : nil
    case .protector: protect?.process.children.first
    case .qemu: primary.process.isRunning ? primary.process.pid : nil
    }
  }

  // MARK: What comes of it

  /// Waits for the end of `multifd protect`, and starts another one.
  private func startProtectAgain(_ fault: Fault) throws -> Int32 {
    guard let protect else { throw LabError("there is no multifd protect") }
    let code = try protect.wait(.seconds(30)).code
    let expected: Set<Int32> =
      switch fault {
      case .kill: [137]
      case .term: [143]
      case .short: [1, 3, 70]
      default: []
      }
    guard expected.contains(code) else {
      throw Inconsistency("multifd protect ended with \(code): \(complaints)")
    }
    try startProtect()
    return code
  }

  /// Waits until it is known whether the standby is given up, or goes on taking checkpoints.
  private func isGivenUp(_ course: Fault.Course, since lost: Moment) throws -> Bool {
    let limit = ContinuousClock.now + .seconds(40)
    var first: Int?
    while ContinuousClock.now < limit {
      guard primary.process.isRunning else { throw Inconsistency("the primary has ended") }
      guard let protect, protect.process.isRunning else {
        throw Inconsistency("multifd protect has ended: \(complaints)")
      }
      if hasGivenUp(since: lost) { return true }
      if course != .breaks, standby.process.isRunning {
        let checkpoint = checkpoint
        // The number may be that of the process before.
        if checkpoint >= (first ?? checkpoint) + 3 { return false }
        first = first ?? checkpoint
      }
      Thread.sleep(forTimeInterval: 0.02)
    }
    throw Inconsistency("neither given up nor protected after 40 s: \(complaints)")
  }

  private func hasGivenUp(since lost: Moment) -> Bool {
    guard let protect else { return false }
    // Another one than at that moment has said all that it has said since.
    let lines = protect.process.errors.lines.dropFirst(protect === lost.protect ? lost.lines : 0)
    return lines.contains { $0.text.contains("unprotected since") }
  }

  private func awaitStandbysEnd(_ fault: Fault) throws -> Int32 {
    let result = try standby.wait(.seconds(40))
    guard fault.codes.contains(result.code) else {
      throw Inconsistency("the standby ended with \(result)")
    }
    return result.code
  }

  /// Starts a standby that has so many MiB, and later more.
  ///
  /// It may be that nothing ends for want of it, and a mirror cannot connect: then it has said so,
  /// and ends when it is told to.
  ///
  /// - Returns: how it ended; nil where it was enough.
  private func startStarved(_ most: Int) throws -> Int32? {
    let place = try Self.place(setup, images, laterWire)
    let words = Self.standbysWords(
      setup, store, images, place, at: ports, logs: room?.path,
      (backend?.arguments ?? []) + ["--adopt"])
    let limit = ["/usr/bin/prlimit", "--as=\(most << 20):unlimited", "--"]
    let next = try MultiFDProcess(words, wrapper: (setup.cable?.wrapper ?? []) + limit)
    processes.update { ($0.standby, $0.place) = (next, place) }
    let deadline = ContinuousClock.now + .seconds(30)
    while ContinuousClock.now < deadline {
      guard next.process.isRunning else {
        let result = try next.wait()
        guard [1, 3, 70].contains(result.code) else {
          throw Inconsistency("a standby with too little memory ended with \(result)")
        }
        return result.code
      }
      if next.process.errors.text.contains("multifd: ready"), checkpoint >= 3 {
        for program in [Fault.Program.guardian, .worker] {
          if let pid = pid(program) { try Limits.lift(pid, .memory) }
        }
        return nil
      }
      Thread.sleep(forTimeInterval: 0.02)
    }
    if next.process.errors.text.contains(": a connection cannot be ") {
      next.process.kill(SIGTERM)
      let result = try next.wait(.seconds(30))
      guard result.code == 143 else { throw Inconsistency("SIGTERM, and it ended with \(result)") }
      return result.code
    }
    throw Inconsistency("with \(most) MiB a standby neither works nor ends: \(complaints)")
  }

  /// Throws where the guest that is protected is not as it should be.
  func judgeHealth() throws {
    guard let check = primary.console.diskCheck() else {
      throw Inconsistency("the primary's guest does not answer: \(complaints)")
    }
    guard check.bad == 0, primary.console.trouble.isEmpty else {
      throw Inconsistency("the primary's disks: \(check.text) \(primary.console.trouble.prefix(3))")
    }
    let seen = wire.seen
    try PacketVerdict(before: seen, memory: nil, all: seen, after: PacketWitness.Seen()).judge()
    guard laterWire.seen.frames == 0 else {
      throw Inconsistency("the guest runs twice: the second has sent \(laterWire.seen.frames)")
    }
    let folders = SmallFileSystem.names(folder.path).filter { $0.hasPrefix("multifd-") }
    guard folders.count <= 1 else {
      throw Inconsistency("folders of protects that are gone are left: \(folders)")
    }
    let waiting = place.qemus
    guard waiting.count <= (setup.onLoss == .hold ? 0 : 1) else {
      throw Inconsistency("QEMUs \(waiting) wait for a guest that runs at its primary")
    }
  }
}

extension Fault {
  /// For how long it keeps the guest silent by itself: nobody promises anything of that.
  var ownSilence: Duration {
    switch self {
    case .stop(let programs, let time) where !programs.allSatisfy(\.isStandbys):
      .milliseconds(time)
    // The time in which another one is started, and takes over.
    case .kill(let programs) where programs.contains(.keeper): .seconds(3)
    case .short(_, .protector, _, let time): .milliseconds(time)
    default: .zero
    }
  }
}
