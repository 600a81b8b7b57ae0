import Foundation

/// A stock QEMU of Debian's that Support/peers sets up.
public enum QEMUVersion: String, CaseIterable, Sendable, Comparable, CustomStringConvertible {
  /// 7.2, of Debian 12.
  case v72 = "72"
  /// 10.0, of Debian 13.
  case v100 = "100"
  /// 11.1 or later, of trixie-backports.
  case v111 = "111"

  /// The version as people write it.
  public var description: String {
    switch self {
    case .v72: "7.2"
    case .v100: "10.0"
    case .v111: "11.1"
    }
  }

  /// Older before newer.
  public static func < (a: Self, b: Self) -> Bool {
    guard let a = allCases.firstIndex(of: a), let b = allCases.firstIndex(of: b) else {
      return false
    }
    return a < b
  }

  /// The newest q35 machine type that this version and `other` both know under the same meaning.
  public func machine(with other: QEMUVersion) -> String {
    switch min(self, other) {
    case .v72: "pc-q35-7.2"
    case .v100: "pc-q35-10.0"
    case .v111: "q35"
    }
  }

  /// Its root folder, when it is not the machine's own package.
  private var rootFolder: String { Lab.root + "/peers/" + rawValue }

  /// Why this QEMU cannot be run here; nil when it can.
  public var unavailable: SkipReason? { Self.checked[self] ?? nil }

  /// Whether this QEMU, and the guest to run in it, are there.
  public var isAvailable: Bool { unavailable == nil && Lab.guestUnavailable == nil }

  /// Says on stderr that what needs this QEMU is skipped, when it is not available, and tells
  /// whether it is.
  public func isAvailableElseAnnounce(_ what: String) -> Bool {
    (unavailable ?? Lab.guestUnavailable)?.announce(what)
    return isAvailable
  }

  /// The command that runs this QEMU with `arguments`. The process it starts becomes QEMU itself:
  /// its pid is kept.
  ///
  /// A peer in a root folder runs there by chroot, in a mount namespace of its own, with this
  /// machine's /dev, /proc, /tmp and the lab's files bound in. Without root the namespace is a user
  /// namespace's. It ends with its parent, unless it `survives`.
  public func command(_ arguments: [String], survives: Bool = false) -> [String] {
    if self == .v72, Self.hostHas72 { return [Self.hostQEMU] + arguments }
    let script = """
      set -e; R=$1; L=$2; shift 2; mount --make-rprivate / || true; mount --rbind /dev "$R/dev"; \
      mount --rbind /proc "$R/proc"; mount --bind /tmp "$R/tmp"; mkdir -p "$R$L"; \
      mount --bind "$L" "$R$L"; cd /; \
      exec chroot "$R" \(survives ? "" : "/usr/bin/setpriv --pdeathsig KILL -- ")/usr/bin/qemu-system-x86_64 "$@"
      """
    let unshare = geteuid() == 0 ? ["/usr/bin/unshare", "-m"] : ["/usr/bin/unshare", "-rm"]
    return unshare + ["/bin/sh", "-c", script, "sh", rootFolder, Lab.root] + arguments
  }

  private static let hostQEMU = "/usr/bin/qemu-system-x86_64"

  private static let hostHas72: Bool = versionLine([hostQEMU])?.contains(" 7.2.") ?? false

  private static let checked: [QEMUVersion: SkipReason?] = {
    var result: [QEMUVersion: SkipReason?] = [:]
    for version in allCases { result[version] = .some(version.check()) }
    return result
  }()

  private func check() -> SkipReason? {
    if self == .v72, Self.hostHas72 { return nil }
    let program = rootFolder + "/usr/bin/qemu-system-x86_64"
    guard FileManager.default.isExecutableFile(atPath: program) else {
      return SkipReason("QEMU \(self) is not there: run Support/setup --peers \(rawValue)")
    }
    guard Self.versionLine(command([])) != nil else {
      return SkipReason("QEMU \(self) in \(rootFolder) does not run here (is this root?)")
    }
    return nil
  }

  private static func versionLine(_ command: [String]) -> String? {
    guard FileManager.default.isExecutableFile(atPath: command[0]),
      let child = try? ChildProcess(command + ["--version"]),
      child.wait(.seconds(30)) == .code(0)
    else { return nil }
    return child.output.lines.first?.text
  }
}
