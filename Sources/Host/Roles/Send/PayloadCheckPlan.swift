import Migration
import PluginLoader

/// How much of what is sent is decoded before the destination could start the guest.
struct PayloadCheckPlan {
  private let verify: SendOptions.Verify
  /// Formats whose payloads are not the pages themselves.
  private let encoded: [OutgoingFormat]
  /// Whether to decode some of it is enough.
  let isSample: Bool

  /// Reads libraries, to see whether they are what the harness has certified.
  ///
  /// - Parameter formats: all that pages may go out in.
  init(_ verify: SendOptions.Verify, _ formats: [OutgoingFormat]) {
    self.verify = verify
    encoded = formats.filter { !$0.backend.capabilities.contains(.zeroCopy) }
    isSample = verify == .needed && encoded.allSatisfy(\.isProven)
  }

  /// As ``SendSummary/verified`` has it.
  var told: String? {
    if encoded.isEmpty { return nil }
    return verify == .none ? "none" : isSample ? "sample" : "all"
  }
}
