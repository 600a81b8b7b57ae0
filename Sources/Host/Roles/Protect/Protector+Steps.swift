import Migration
import Synchronization
import System
import Transport

extension Protector {
  var silence: Double { options.silence }

  /// From the control connection to the end of it. Returns never: it ends by what ends it.
  func attempt() throws(ProtectEnd) {
    let number = try state.begin()
    let tls: StandbyTLS?
    do throws(Failure) { tls = try options.standbyTLS() } catch { throw .lost(error) }
    let isProtected = try isProtected()
    let control = try open(number, tls, isProtected)
    parting.withLock { $0 = control }
    state.onShutdown { control.sendEnded($0) }
    do throws(ProtectEnd) {
      if isProtected { try takeOver(control, number) } else { try begin(control, tls) }
      try protect(control, number)
    } catch {
      // Before the connection's end, which is ours then, is taken for the reason.
      state.end(error, attempt: number)
      // One that is lost may be there, and is told before its guest goes on.
      if case .lost = error {} else { part() }
      throw error
    }
  }

  /// Closes the line to a standby, if there is one.
  ///
  /// - Parameter reason: why the guest is about to go on without it: a standby that was stopped
  ///   meanwhile finds that when it wakes, and starts no other copy. Nil: nothing is said.
  func part(saying reason: String? = nil) {
    let line = parting.withLock { line in
      defer { line = nil }
      return line
    }
    guard let line else { return }
    if let reason { line.sendEnded(reason, goesOn: true) }
    state.onShutdown { _ in }
    line.cut()
  }

  /// Copies what there is, up to the migration.
  private func begin(_ control: StandbyControl, _ tls: StandbyTLS?) throws(ProtectEnd) {
    do throws(Failure) { try tls?.put(in: monitor, within: silence) } catch {
      try state.check()
      throw .lost(error)
    }
    // One that a process before this one has left standing.
    try carryOut { seconds throws(MonitorError) in
      try StandingGuest.goOn(monitor, within: seconds)
    }
    try copyDisks(control, tls)
    try putPacketsIn(holding: false)
    isStandbyGiven.update { $0 = true }
    try migrate(tls)
  }

  /// The migration is there, or checkpoints are.
  private func protect(_ control: StandbyControl, _ attempt: Int) throws(ProtectEnd) {
    var writes = StandingWrites(limit: .seconds(options.longestWrite))
    state.watchDisks()
    state.watchMigration()
    try awaitCOLO(&writes)
    // COLO has let it go on.
    if before.isEmulated {
      try carryOut { seconds throws(MonitorError) in
        try StandingGuest.forget(monitor, within: seconds)
      }
    }
    // A standby says when, while the guest stands still: here some would have passed already.
    if holding.read({ $0 }) != attempt { packets.hold() }
    state.protect()
    log("protected by \(options.standby)")
    try watch(control, &writes)
  }

  private func open(
    _ attempt: Int, _ tls: StandbyTLS?, _ isProtected: Bool
  ) throws(ProtectEnd) -> StandbyControl {
    state.show { line in
      if line.state != .unprotected { line.enter(.connecting) }
    }
    let control: StandbyControl
    do {
      control = try StandbyControl(
        lookingAt: options.standby, tls: tls?.credentials, silence: silence
      ) { [self] message, line in
        take(message, line, attempt)
      } onEnd: { [self] why in
        lose(why, attempt)
      }
    } catch { throw .lost(error) }
    try expect(control.status, isProtected)
    do { try control.takePlace() } catch { throw .lost(error) }
    return control
  }

  /// Makes sure that it is a standby for this guest as it is now, before anything is changed, there
  /// or here.
  private func expect(_ standby: ControlStatus, _ isProtected: Bool) throws(ProtectEnd) {
    var compared = assessment
    compared.compare(with: standby.disks.map { ($0.name, $0.size) })
    if let refusal = compared.refusal {
      // What there is goes on: it is only not this.
      throw isProtected ? .cancelled(refusal) : .lost(refusal)
    }
    let phase = standby.phase
    if isProtected, phase != .precopy, phase != .protecting {
      throw .lost(
        Failure(
          .failed, "standby",
          "the guest is protected already, and this standby is \(phase.rawValue)"))
    }
    if !isProtected, phase != .waiting {
      throw .lost(
        Failure(.refused, "standby", "it is \(phase.rawValue), and not with this guest"))
    }
  }

  /// What a standby says.
  private func take(_ message: ControlMessage, _ line: ControlLine, _ attempt: Int) {
    // Once it is lost nothing that it says counts.
    guard !state.hasEnded else { return }
    if let number = message.mark {
      if number == 0 {
        // The end of precopy: what came before has passed. Noted first: who puts filters in
        // meanwhile looks at it afterwards.
        holding.update { $0 = attempt }
        packets.hold()
      } else {
        packets.mark(number)
      }
      var answer = ControlMessage()
      answer.marked = number
      // Whether it arrives shows where the connection is read.
      try? line.send(answer)
    }
    if let number = message.release { packets.release(number) }
    guard let status = message.status else { return }
    state.show { line in
      line.checkpoint = status.checkpoint
      for index in line.disks.indices {
        let theirs = status.disks.first { $0.name == line.disks[index].name }
        if let theirs { line.disks[index].state = theirs.state.rawValue }
      }
    }
    guard status.phase == .lost else { return }
    lose(Failure(.failed, "standby", status.reason ?? "it has given up"), attempt)
  }

  /// The standby is lost. Who acts may be waiting for an answer of a QEMU that stands still because
  /// of it: it is freed at once.
  private func lose(_ failure: Failure, _ attempt: Int) {
    if state.end(.lost(failure), attempt: attempt) { yank(disks: failure.mayHang) }
  }

  /// Runs a command of the attempt.
  @discardableResult
  func execute(_ command: String, _ arguments: QMPValue = .null) throws(ProtectEnd) -> QMPValue {
    try carryOut { seconds throws(MonitorError) in
      try monitor.execute(command, arguments, within: seconds)
    }
  }

  /// Does some commands of the attempt, which may be done again.
  @discardableResult
  private func carryOut<Result>(
    _ body: (_ seconds: Double) throws(MonitorError) -> Result
  ) throws(ProtectEnd) -> Result {
    let deadline = ContinuousClock.now + .seconds(silence)
    while true {
      let left = max(0.1, (deadline - .now) / .seconds(1))
      do { return try body(left) } catch {
        // What has made it silent, or what comes with its end, says more.
        try state.check()
        // A command that runs for each question may fail for reasons of its own.
        guard error.kind == .silent, .now < deadline else { throw ProtectEnd(error) }
        Pause.short()
      }
    }
  }

  /// Whether an earlier process has come as far as the migration, and it goes on: then all is
  /// there.
  private func isProtected() throws(ProtectEnd) -> Bool {
    let status = try execute("query-migrate")["status"].string ?? ""
    guard ["setup", "active", "device", "colo"].contains(status) else { return false }
    let jobs = try execute("query-block-jobs")
    for disk in assessment.disks where DiskMirror(disk).progress(jobs) == nil {
      // And it goes on so: what does not fit is what was asked for.
      throw .cancelled(
        Failure(
          .refused, "disk \(disk.name)", "the guest is protected already, without it",
          hint: "--stop, then again"))
    }
    return true
  }

  /// Goes on with what an earlier process has begun.
  private func takeOver(_ control: StandbyControl, _ attempt: Int) throws(ProtectEnd) {
    log("the guest is protected already: taking over")
    if control.status.phase == .protecting {
      try putPacketsIn(holding: true)
      holding.update { $0 = attempt }
    } else {
      state.show { $0.enter(.precopy) }
      // While it is copied nothing is released: what it sends leaves, as before.
      try putPacketsIn(holding: false)
      if holding.read({ $0 }) == attempt { packets.hold() }
    }
    try execute("migrate-set-parameters", .object(tuning.read { $0.parameters }))
  }

  private func putPacketsIn(holding: Bool) throws(ProtectEnd) {
    do { try packets.putIn(monitor, holding: holding, within: silence) } catch {
      try state.check()
      throw .lost(error)
    }
  }

  // MARK: Memory

  private func migrate(_ tls: StandbyTLS?) throws(ProtectEnd) {
    state.show { $0.enter(.precopy) }
    var capabilities: [String: Bool] = ["x-colo": true, "return-path": true, "events": true]
    capabilities["multifd"] = options.channels > 0
    try set(capabilities)
    var parameters = tuning.read { $0.parameters }
    // The pause at precopy's end that QEMU may plan with, and in which it answers nobody. The less of
    // it the better where its guest stands still: then all that is left comes before.
    parameters["downtime-limit"] = .integer(before.isEmulated ? 20 : Int64(options.patience * 500))
    if options.channels > 0 {
      parameters["multifd-channels"] = .integer(Int64(options.channels))
      parameters["multifd-compression"] = .string(options.compression ?? "none")
    }
    parameters.merge(tls?.parameters ?? [:]) { $1 }
    try execute("migrate-set-parameters", .object(parameters))
    state.watchDisks()
    if before.isEmulated { try standStill() }
    try execute("migrate", ["uri": .string(options.standby.description)])
  }

  private func standStill() throws(ProtectEnd) {
    let hasRun = try carryOut { seconds throws(MonitorError) in
      try StandingGuest.stop(monitor, within: seconds)
    }
    if hasRun { log("the guest is emulated (TCG): it stands still while its memory is copied") }
  }

  func set(_ capabilities: [String: Bool]) throws(ProtectEnd) {
    let list = capabilities.sorted { $0.key < $1.key }.map { name, isOn -> QMPValue in
      ["capability": .string(name), "state": .bool(isOn)]
    }
    try execute("migrate-set-capabilities", ["capabilities": .array(list)])
  }

  private func awaitCOLO(_ writes: inout StandingWrites) throws(ProtectEnd) {
    var memory = StandingWrites(limit: .seconds(options.silence))
    while true {
      let answer: QMPValue
      do throws(ProtectEnd) {
        try state.wait(seconds: 0.05)
        answer = try execute("query-migrate")
      } catch {
        guard case .lost(let failure) = error else { throw error }
        throw .lost(explained(failure))
      }
      switch answer["status"].string ?? "" {
      case "colo": return
      case "failed", "completed", "cancelled", "":
        throw .lost(explained(Failure(.failed, "qemu", "the migration has failed")))
      default:
        let ram = answer["ram"]
        state.show { line in
          line.remaining = ram["remaining"].int
          line.total = ram["total"].int
        }
        try lookAtDisks(&writes)
        // Until COLO there is always something to do; and a guest that runs meanwhile has time.
        guard memory.look("ram", copied: ram["transferred"].int ?? 0, total: .max) != nil,
          try execute("query-status")["running"].bool == false
        else { continue }
        throw .lost(
          Failure(
            .unreachable, "standby",
            "it takes nothing of a guest that stands still for longer than \(options.silence) s"))
      }
    }
  }

  /// With what QEMU says of its migration's end.
  func explained(_ failure: Failure) -> Failure {
    guard let answer = try? monitor.execute("query-migrate", within: silence),
      let why = answer["error-desc"].string
    else { return failure }
    var failure = failure
    failure.why += ": \(why)"
    return failure
  }
}
