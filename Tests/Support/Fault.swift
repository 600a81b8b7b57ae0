/// Something that goes wrong while a guest is protected, and after which it must be protected again.
public enum Fault: Sendable, Equatable {
  /// A process of either machine's.
  public enum Program: String, Sendable, CaseIterable {
    /// Of `multifd receive`: the process that was started, and the one that works.
    case guardian, worker
    /// The QEMU that waits for the guest.
    case spare
    /// Of `multifd protect`: the process that was started, and the one that works.
    case keeper, protector
    /// The primary.
    case qemu

    var isStandbys: Bool { self == .guardian || self == .worker || self == .spare }
  }

  /// Connections between the two machines.
  public enum Connections: String, Sendable, CaseIterable { case memory, disks, all }

  /// What a backend does in the middle of its work.
  public enum Misdeed: String, Sendable, CaseIterable {
    /// SIGSEGV.
    case crash
    /// exit(0).
    case exit
    /// It never comes back.
    case hang
    /// It says that what it got is corrupt.
    case refuse
    /// It says that there is no memory.
    case memory
  }

  /// What a process has no more of.
  public enum Resource: String, Sendable, CaseIterable {
    /// Address space: mmap(2) and brk(2) say ENOMEM.
    case memory
    /// Descriptors: EMFILE.
    case descriptors
  }

  /// The cable is bad for a while.
  case weather(Cable.Weather, milliseconds: Int)
  /// Nothing gets through.
  case unplugged(milliseconds: Int)
  /// Connections end, and can be made anew.
  case cut(Connections)
  /// SIGSTOP, and SIGCONT so much later.
  case stop([Program], milliseconds: Int)
  /// SIGKILL.
  case kill([Program])
  /// SIGTERM, to the process that was started: the guardian or the keeper.
  case term(Program)
  /// The file system of the standby's logs is full.
  case full
  /// A process gets no more for a while: of memory, so many KiB.
  case short(Resource, Program, kibibytes: Int, milliseconds: Int)
  /// The standby is killed, and the next one has so many MiB of address space: perhaps too few to
  /// begin.
  case starved(mebibytes: Int)
  /// The standby's backend.
  case backend(Misdeed)

  /// What may become of the protection.
  public enum Course: Sendable {
    /// It must go on: nothing happened that takes as long as `multifd protect`'s patience.
    case goesOn
    /// The standby must be given up, and the guest go on alone.
    case breaks
    /// Either.
    case either
    /// Nobody lets the guest's packets out, until another `multifd protect` takes over.
    case falls
  }

  /// What may become of it.
  public var course: Course {
    switch self {
    // TCP waits for 0.2 s, 0.4 s, 0.8 s when packets are lost.
    case .weather(let weather, _): weather.loss == 0 ? .goesOn : .either
    case .unplugged(let time): time <= Self.blink ? .goesOn : time >= Self.long ? .breaks : .either
    case .cut, .full, .starved, .backend: .breaks
    case .stop(let programs, let time):
      time <= Self.blink
        ? .goesOn : programs.contains(.worker) && time >= Self.long ? .breaks : .either
    case .kill(let programs):
      programs.contains(.keeper)
        ? .falls : programs.contains { $0 == .guardian || $0 == .worker } ? .breaks : .goesOn
    case .term(let program): program == .keeper ? .falls : .breaks
    case .short: .either
    }
  }

  /// Milliseconds that nobody takes for an end.
  public static let blink = 500
  /// Milliseconds that everybody does.
  public static let long = 4000

  /// The codes that `multifd receive` may end with, where it does.
  public var codes: Set<Int32> {
    switch self {
    case .kill(let programs) where programs.contains(.guardian): [137]
    case .kill: [70]
    case .starved: [137]
    case .term: [143]
    case .backend(.crash), .backend(.exit): [70]
    // It is the primary that goes first.
    case .backend(.hang): [1, 3, 70]
    case .backend(.refuse): [4]
    case .backend(.memory): [1]
    // Swift's runtime ends a process that has no memory for an object.
    case .short(.memory, _, _, _): [1, 3, 70]
    case .weather, .unplugged, .cut, .stop, .full, .short: [1, 3]
    }
  }

  /// Of what kind it is, for a count.
  public var kind: String {
    switch self {
    case .weather(let weather, _):
      weather.loss > 0 ? "loss" : weather.jitter > .zero ? "reordering" : "latency"
    case .unplugged: "unplugged"
    case .cut(let what): "cut \(what)"
    case .stop(let programs, _): "stop " + Self.names(programs)
    case .kill(let programs): "kill " + Self.names(programs)
    case .term(let program): "term \(program)"
    case .full: "full"
    case .short(let resource, let program, _, _): "\(program) short of \(resource)"
    case .starved: "starved"
    case .backend(let misdeed): "backend \(misdeed)"
    }
  }

  private static func names(_ programs: [Program]) -> String {
    programs.map(\.rawValue).joined(separator: "+")
  }
}

extension Fault: CustomStringConvertible {
  /// For a row.
  public var description: String {
    switch self {
    case .weather(let weather, let time):
      "\(kind) \(weather), \(time) ms"
    case .unplugged(let time), .stop(_, let time): "\(kind) \(time) ms"
    case .short(.memory, _, let more, let time): "\(kind) (\(more) KiB) \(time) ms"
    case .short(_, _, _, let time): "\(kind) \(time) ms"
    case .starved(let most): "\(kind): \(most) MiB"
    case .cut, .kill, .term, .full, .backend: kind
    }
  }
}

extension Cable.Weather: CustomStringConvertible {
  /// For a row: latency and jitter, and loss.
  public var description: String {
    "\(latency.milliseconds)+\(jitter.milliseconds) ms" + (loss > 0 ? " \(loss)‰" : "")
  }
}

extension Duration {
  fileprivate var milliseconds: Int { Int(inSeconds * 1000) }
}
