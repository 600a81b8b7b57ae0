import Migration
import TLS
import Wire

/// What an operator decides about handing a held guest to a QEMU.
public struct SendOptions: Sendable {
  /// How the destination learns of sync points: by its machine type, see SPECIFICATION section 2.5.
  public enum Sync: String, Sendable, CaseIterable {
    /// As the source's stream had it, else by the version in the machine type's name; where neither
    /// is certain, as the destination shows.
    case auto
    /// A MULTIFD_FLUSH record: machine types from 8.1.
    case flush
    /// The end of every RAM section: QEMU 7.2, and machine types up to 8.0.
    case section
  }

  /// The folder that holds the guest.
  public var store: String
  /// The destination: a QEMU that was started with `-incoming`, or the far side of a link.
  public var to: Destination
  /// What is shown to the destination, and asked of it; nil: no TLS.
  public var tls: TLSCredentials?
  /// multifd channels; 0 sends everything on the main channel.
  public var channels = 2
  /// How pages travel on the channels.
  public var compression = FormatWish.asTheyCome
  /// A folder that has the version of the guest that the far side of a link has: pages can then be
  /// told by how they differ, in a format for that.
  public var reference: String?
  /// Seconds of silence after which the destination counts as lost.
  public var timeout = 30.0
  /// Seconds in which a destination that syncs by MULTIFD_FLUSH shows that it does, where it is not
  /// known.
  public var syncPatience = 1.0
  /// The destination's UUID; nil: the guest's own.
  public var uuid: VMUUID?
  /// How sync points are told.
  public var sync = Sync.auto
  /// Send also a guest that was handed over before, or whose hand-over was interrupted.
  public var force = false
  /// What of what is sent is decoded once: a payload that a stock QEMU cannot decode wedges it.
  public enum Verify: String, Sendable, CaseIterable {
    /// All; a sample where the harness has certified the backend and that can be.
    case needed
    /// All.
    case all
    /// Nothing.
    case none
  }
  /// See ``Verify``.
  public var verify = Verify.needed

  /// The usual options.
  public init(store: String, to: Destination) {
    self.store = store
    self.to = to
  }
}
