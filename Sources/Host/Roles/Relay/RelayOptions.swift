import Migration
import TLS
import Transport
import Wire

/// What an operator decides about a relay.
public struct RelayOptions: Sendable {
  /// Where the source connects: a QEMU, or the connecting side of a link.
  public var listen: Endpoint
  /// Where the guest goes.
  public var to: Destination
  /// What is shown to the source, and asked of it; nil: it comes without TLS.
  public var listenTLS: TLSCredentials?
  /// Without TLS others than this machine may connect all the same.
  public var insecure = false
  /// What is shown to the destination, and asked of it; nil: no TLS.
  public var toTLS: TLSCredentials?
  /// How pages travel from here on.
  public var compression = FormatWish.asTheyCome
  /// How many multifd channels the source opens; nil: as many as it likes.
  public var channels: Int?
  /// Seconds of silence, in the middle of something, after which either peer counts as lost.
  public var timeout = 30.0
  /// The most bytes a second that are sent on; nil: as many as go.
  public var maxBandwidth: UInt64?
  /// Bytes of a page of the guest.
  public var pageSize = StreamDecoder.Limits().pageSize

  /// The usual options.
  public init(listen: Endpoint, to: Destination) {
    self.listen = listen
    self.to = to
  }
}
