import ArgumentParser
import Migration
import Roles
import System
import TLS

/// TLS where a command listens.
struct TLSListenArguments: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Whoever connects comes by TLS; a folder of credentials, as QEMU has them.",
      discussion: """
        ca-cert.pem, server-cert.pem, server-key.pem and perhaps ca-crl.pem; or keys.psk. See docs/tls.md.
        """, valueName: "dir"), completion: .directory)
  var tlsCreds: String?

  @OptionGroup var peers: TLSPeerArguments

  /// What they come to; nil: no TLS.
  func credentials() throws -> TLSCredentials? {
    try peers.check(isUsed: tlsCreds != nil)
    return try tlsCreds.map { try TLSCredentials(in: $0, for: .listening, peers.wishes) }
  }
}

/// TLS where a command connects.
struct TLSConnectArguments: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Connect by TLS; a folder of credentials, as QEMU has them.",
      discussion: """
        ca-cert.pem, and client-cert.pem and client-key.pem unless the destination takes anybody, and perhaps \
        ca-crl.pem; or keys.psk. See docs/tls.md.
        """, valueName: "dir"), completion: .directory)
  var tlsCreds: String?

  @OptionGroup var host: TLSHostArguments

  /// What they come to; nil: no TLS.
  func credentials() throws -> TLSCredentials? {
    try host.check(isUsed: tlsCreds != nil)
    return try tlsCreds.map { try TLSCredentials(in: $0, for: .connecting, host.wishes) }
  }
}

/// TLS where a command connects, and so does the QEMU beside it.
struct TLSProtectArguments: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "To the standby by TLS, this command and QEMU; a folder of credentials, as QEMU has them.",
      discussion: """
        ca-cert.pem, client-cert.pem, client-key.pem and perhaps ca-crl.pem; or keys.psk. QEMU is given an object \
        of the same folder, under the same path, and has to be able to read it. See docs/tls.md.
        """, valueName: "dir"), completion: .directory)
  var tlsCreds: String?

  @Option(
    help: ArgumentHelp(
      "Credentials that QEMU has already: the id of a tls-creds object with endpoint=client.",
      valueName: "id"))
  var qemuTlsCreds: String?

  @OptionGroup var host: TLSHostArguments

  /// What they come to; nil: no TLS.
  func options() throws -> ProtectTLS? {
    try host.check(isUsed: tlsCreds != nil)
    guard let tlsCreds else {
      guard qemuTlsCreds == nil else {
        throw Failure(.usage, "tls", "--qemu-tls-creds belongs to --tls-creds")
      }
      return nil
    }
    // QEMU may have been started anywhere.
    return ProtectTLS(folder: wholePath(tlsCreds), host.wishes, object: qemuTlsCreds)
  }
}

/// TLS of a command that does both.
struct TLSRelayArguments: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "TLS on both sides; a folder of credentials, as QEMU has them. See docs/tls.md.",
      valueName: "dir"), completion: .directory)
  var tlsCreds: String?

  @Option(
    help: ArgumentHelp("TLS where the source connects, with this folder.", valueName: "dir"),
    completion: .directory)
  var tlsCredsListen: String?

  @Option(
    help: ArgumentHelp("TLS where the guest goes, with this folder.", valueName: "dir"),
    completion: .directory)
  var tlsCredsTo: String?

  @OptionGroup var peers: TLSPeerArguments

  @OptionGroup var host: TLSHostArguments

  func validate() throws {
    guard tlsCreds == nil || (tlsCredsListen == nil && tlsCredsTo == nil) else {
      throw ValidationError(
        "--tls-creds is for both sides: give it, or --tls-creds-listen and --tls-creds-to")
    }
  }

  /// What they come to; nil: no TLS there.
  func credentials() throws -> (listen: TLSCredentials?, to: TLSCredentials?) {
    let (listen, to) = (tlsCredsListen ?? tlsCreds, tlsCredsTo ?? tlsCreds)
    try peers.check(isUsed: listen != nil)
    try host.check(isUsed: to != nil)
    return (
      try listen.map { try TLSCredentials(in: $0, for: .listening, peers.wishes) },
      try to.map { try TLSCredentials(in: $0, for: .connecting, host.wishes) }
    )
  }
}

/// Whom a command that listens takes.
struct TLSPeerArguments: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "The distinguished name that a source's certificate must have; may be repeated.",
      discussion:
        "As QEMU's authz-simple has it: 'CN=src.example.org,O=Example'. Else all that the CA has signed.",
      valueName: "subject"))
  var tlsAuthz: [String] = []

  @Flag(help: "A source need not have a certificate: QEMU's verify-peer=no.")
  var tlsNoVerifyPeer = false

  @Flag(
    help: ArgumentHelp(
      "Where there is no TLS, listen on addresses that others than this machine reach, too.",
      discussion: """
        Whoever reaches such a port can bring a guest, and whoever is on the way can read and change one. \
        Without this option and --tls-creds only loopback addresses and UNIX sockets are listened on.
        """))
  var insecure = false

  var wishes: TLSCredentials.Wishes {
    var wishes = TLSCredentials.Wishes()
    (wishes.subjects, wishes.takesAnybody) = (tlsAuthz, tlsNoVerifyPeer)
    return wishes
  }

  func check(isUsed: Bool) throws {
    guard isUsed || (tlsAuthz.isEmpty && !tlsNoVerifyPeer) else {
      throw Failure(.usage, "tls", "--tls-authz and --tls-no-verify-peer belong to --tls-creds")
    }
    guard tlsAuthz.isEmpty || !tlsNoVerifyPeer else {
      throw Failure(
        .usage, "tls", "--tls-authz is for certificates, and --tls-no-verify-peer wants none")
    }
  }
}

/// Whom a command that connects wants to meet, and as whom.
struct TLSHostArguments: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "The name that the other side's certificate must have; by default the host of its URI.",
      valueName: "name"))
  var tlsHostname: String?

  @Option(
    help: ArgumentHelp("As whom to connect by keys.psk; by default qemu.", valueName: "name"))
  var tlsPskUsername: String?

  var wishes: TLSCredentials.Wishes {
    var wishes = TLSCredentials.Wishes()
    (wishes.hostname, wishes.username) = (tlsHostname, tlsPskUsername)
    return wishes
  }

  func check(isUsed: Bool) throws {
    guard isUsed || (tlsHostname == nil && tlsPskUsername == nil) else {
      throw Failure(.usage, "tls", "--tls-hostname and --tls-psk-username belong to --tls-creds")
    }
  }
}
