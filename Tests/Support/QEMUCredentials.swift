/// What a QEMU shows and asks for in a handshake of TLS, as its operator sets it.
public struct QEMUCredentials: Sendable, Hashable {
  /// A folder, as `CertificateAuthority` fills it.
  public var folder: String
  /// It has `keys.psk`.
  public var isShared = false
  /// `tls-hostname`.
  public var hostname: String?
  /// `verify-peer`.
  public var verifiesPeer = true
  /// Whether QEMU itself looks what its certificates are worth.
  public var isChecked = true

  /// Certificates of a folder, or keys.
  public init(_ folder: String, isShared: Bool = false) {
    (self.folder, self.isShared) = (folder, isShared)
  }

  /// Makes them in `qemu`, and has its next migration use them. Throws QEMU's refusal.
  func apply(to qemu: any GuestHost, _ side: MigrationSetup.Side) throws {
    // Those before may be in use.
    let id = "tls\(Int.random(in: 0..<Int.max))"
    var object: [String: JSON] = [
      "qom-type": .string(isShared ? "tls-creds-psk" : "tls-creds-x509"), "id": .string(id),
      "dir": .string(folder), "endpoint": .string(side == .source ? "client" : "server"),
    ]
    if !isShared {
      object["verify-peer"] = .bool(verifiesPeer)
      object["sanity-check"] = .bool(isChecked)
    }
    try qemu.qmp.execute("object-add", .object(object))
    try qemu.qmp.execute(
      "migrate-set-parameters",
      ["tls-creds": .string(id), "tls-hostname": .string(hostname ?? "")])
  }
}

/// Credentials of all sides of a migration, in one folder.
public struct Credentials: Sendable {
  /// What the sides know each other by.
  public enum Kind: String, Sendable, CaseIterable {
    /// Certificates.
    case x509
    /// Shared keys.
    case psk
  }

  /// Where they are; goes with the last who has it.
  public let folder: TemporaryFolder
  private let kind: Kind

  /// Makes them.
  public init(_ kind: Kind) throws {
    self.kind = kind
    folder = try TemporaryFolder()
    switch kind {
    case .x509: try CertificateAuthority().fill(folder)
    case .psk:
      try CertificateAuthority.fillKeys(folder, ["qemu": "a secret", "guest": "another one"])
    }
  }

  /// What `multifd` is told.
  public var arguments: [String] { ["--tls-creds", folder.path] }

  /// What a QEMU is told.
  public var qemu: QEMUCredentials { QEMUCredentials(folder.path, isShared: kind == .psk) }
}
