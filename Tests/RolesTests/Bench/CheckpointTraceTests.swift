import Roles
import TestSupport
import Testing

@Suite("A primary's trace of its checkpoints", .beside)
struct CheckpointTraceTests {
  @Test("As QEMU 11 writes it")
  func dates() {
    let trace = CheckpointTrace(
      parsing: """
        2026-11-25T22:47:45.968366Z colo_receive_message Receive 'checkpoint-ready' message
        2026-11-25T23:59:59.268163Z colo_send_message Send 'checkpoint-request' message
        2026-11-25T23:59:59.268358Z colo_receive_message Receive 'checkpoint-reply' message
        2026-11-25T23:59:59.999000Z colo_send_message Send 'vmstate-send' message
        2026-11-25T23:59:59.999502Z colo_send_message Send 'vmstate-size' message
        2026-11-26T00:00:00.002500Z colo_receive_message Receive 'vmstate-received' message
        2026-11-26T00:00:00.044001Z colo_receive_message Receive 'vmstate-loaded' message
        2026-11-26T00:00:00.600000Z colo_send_message Send 'vmstate-send' message
        2026-11-26T00:00:00.610000Z colo_receive_message Receive 'vmstate-received' message
        """)
    #expect(trace.transfers == [.microseconds(3500)], "the second one was not loaded")
    #expect(trace.loads == [.microseconds(41_501)])
  }

  @Test("As QEMU up to 10.0 writes it, between what others say")
  func seconds() {
    let trace = CheckpointTrace(
      parsing: """
        qemu-system-x86_64: warning: 'vmstate-send' is not supported
        4711@1700000000.999000:colo_send_message Send 'vmstate-send' message
        4711@1700000000.999900:colo_flush_ram_cache_begin dirty_pages 7
        4711@1700000001.001000:colo_receive_message Receive 'vmstate-received' message
        4711@1700000001.001010:colo_receive_message Receive 'vmstate-loaded' message
        """)
    #expect(trace.transfers == [.microseconds(2000)])
    #expect(trace.loads == [.microseconds(10)])
  }

  @Test("What is cut off, or comes out of order, is left out")
  func pieces() {
    let line = "4711@1700000000.999000:colo_send_message Send 'vmstate-send' message"
    for end in line.indices {
      let trace = CheckpointTrace(
        parsing: line[..<end] + "\n4711@1.2:colo_receive_message Receive 'vmstate-loaded' message")
      #expect(trace.transfers.isEmpty && trace.loads.isEmpty)
    }
    #expect(CheckpointTrace(parsing: "").transfers.isEmpty)
  }
}
