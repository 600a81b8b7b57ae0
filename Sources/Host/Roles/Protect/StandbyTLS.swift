import Migration
import TLS
import Transport

/// How a standby is reached by TLS: what an operator says of it.
public struct ProtectTLS: Sendable {
  /// The folder of credentials. A whole path: QEMU is to find it, too.
  public var folder: String
  /// Whom to meet there, and as whom.
  public var wishes: TLSCredentials.Wishes
  /// The object of credentials that QEMU has for it already; nil: it is given one of the folder.
  public var object: String?

  /// By the credentials of a folder.
  public init(folder: String, _ wishes: TLSCredentials.Wishes, object: String? = nil) {
    (self.folder, self.wishes, self.object) = (folder, wishes, object)
  }
}

/// TLS of one attempt to protect a guest: of our own connection to the standby, and of QEMU's.
///
/// QEMU reads credentials when it makes an object of them, and whatever is connected keeps the one
/// that it has begun with. So each attempt makes its own anew: a certificate that was renewed
/// counts from the next one on, and mirrors that wait for a standby do not mind.
struct StandbyTLS: Sendable {
  /// What our own connection shows and asks for.
  let credentials: TLSCredentials
  /// QEMU's object.
  private let id: String
  /// What it is made of; nil: it is the operator's.
  private let object: [String: QMPValue]?
  /// The name that the standby's certificate must have; nil where keys are shared.
  private let hostname: String?
  private let folder: String

  /// Reads the folder.
  ///
  /// - Parameter standby: where the standby listens. Its disks may be elsewhere, and it has one name.
  init(_ options: ProtectTLS, of standby: Endpoint) throws(Failure) {
    folder = options.folder
    do {
      credentials = try TLSCredentials(in: folder, for: .connecting, options.wishes)
      hostname = try credentials.name(at: standby)
    } catch { throw Failure(error, at: "tls") }
    id = options.object ?? ProtectNames.credentials
    guard options.object == nil else {
      object = nil
      return
    }
    let kind: [String: QMPValue] =
      credentials.asksForName
      ? ["qom-type": "tls-creds-x509"]
      : ["qom-type": "tls-creds-psk", "username": .string(options.wishes.username ?? "qemu")]
    object = kind.merging(["dir": .string(folder), "endpoint": "client"]) { $1 }
  }

  /// What a migration is told: also that it is not the name of another one before.
  var parameters: [String: QMPValue] {
    ["tls-creds": .string(id), "tls-hostname": .string(hostname ?? "")]
  }

  /// What a connection to a disk is.
  var options: [String: QMPValue] { hostname == nil ? ["tls-creds": .string(id)] : parameters }

  /// Gives QEMU its credentials, those of now.
  func put(in monitor: some GuestMonitor, within seconds: Double) throws(Failure) {
    do throws(MonitorError) {
      guard let object else { return try expect(monitor, within: seconds) }
      try Self.takeOut(of: monitor, within: seconds)
      try add(object, as: id, monitor, within: seconds)
    } catch { throw failure(error) }
  }

  /// Makes sure that QEMU can use them, and leaves nothing.
  func look(_ monitor: some GuestMonitor, within seconds: Double) throws(Failure) {
    do throws(MonitorError) {
      guard let object else { return try expect(monitor, within: seconds) }
      try monitor.tryObject(object, within: seconds)
    } catch { throw failure(error) }
  }

  /// Takes those that a protect has put in out of QEMU, whoever it was. What uses them goes on.
  static func takeOut(of monitor: some GuestMonitor, within seconds: Double) throws(MonitorError) {
    try monitor.removeObject(ProtectNames.credentials, within: seconds)
  }

  private func add(
    _ object: [String: QMPValue], as id: String, _ monitor: some GuestMonitor,
    within seconds: Double
  ) throws(MonitorError) {
    let all = object.merging(["id": .string(id)]) { $1 }
    try monitor.execute("object-add", .object(all), within: seconds)
  }

  /// The operator's are there, and for this side.
  private func expect(_ monitor: some GuestMonitor, within seconds: Double) throws(MonitorError) {
    let side = try monitor.execute(
      "qom-get", ["path": .string("/objects/" + id), "property": "endpoint"], within: seconds)
    guard side.string == "client" else {
      throw MonitorError(.refused, "they are for the side that listens")
    }
  }

  private func failure(_ error: MonitorError) -> Failure {
    guard error.kind == .refused else { return error.failure }
    guard object != nil else {
      return Failure(
        .refused, "tls", "QEMU has no credentials '\(id)' to connect with: \(error)",
        hint: "-object tls-creds-x509,id=\(id),dir=DIR,endpoint=client, or object-add")
    }
    return Failure(
      .refused, "tls", "QEMU cannot use \(folder): \(error)",
      hint: "it needs the same path, readable for its user; or an object of its own, and "
        + "--qemu-tls-creds")
  }
}
