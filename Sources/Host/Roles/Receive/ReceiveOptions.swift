import PluginLoader
import TLS
import Transport
import Wire

/// What an operator decides about a reception.
public struct ReceiveOptions: Sendable {
  /// Where to listen.
  public var listen: Endpoint
  /// What is shown to sources, and asked of them; nil: they come without TLS.
  public var tls: TLSCredentials?
  /// Without TLS others than this machine may connect all the same.
  public var insecure = false
  /// How many multifd channels the source opens; nil: as many as there are at the first sync point.
  public var channels: Int?
  /// The backend that the stream must use; nil: by the stream's own method bits.
  public var compression: CompressionSpec?
  /// The folder that will hold the guest.
  public var store: String
  /// A folder that has an older version of the guest: over a link comes only what differs.
  public var reference: String?
  /// Seconds of silence, in the middle of something, after which the peer counts as lost.
  public var timeout = 30.0
  /// The UUID that every channel must carry; nil: all the same.
  public var uuid: VMUUID?
  /// Tell the source at once that it may switch over, whatever its machine type.
  public var switchoverAck = false
  /// Threads that get the guest's memory ahead of its pages; nil: as many as help.
  public var preallocationThreads: Int?
  /// What a stream may make this process hold.
  public var limits = StreamDecoder.Limits()

  /// The usual options.
  public init(listen: Endpoint, store: String) {
    self.listen = listen
    self.store = store
  }
}
