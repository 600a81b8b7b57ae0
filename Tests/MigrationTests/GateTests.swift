import Migration
import System
import Testing

@Suite("The gate of a checkpoint")
struct GateTests {
  @Test("Pages may come while it is open, and whoever is inside is seen until its SYNC")
  func one() {
    let (gate, pass) = (Gate(), Gate.Pass())
    #expect(!gate.isInside(pass))
    #expect(gate.enter(pass) && gate.isInside(pass))
    gate.leave(pass)
    #expect(!gate.isInside(pass))
    gate.close()
    #expect(!gate.enter(pass) && gate.isInside(pass))
    gate.open()
    #expect(gate.enter(pass))
  }

  @Test("Whoever enters while it is being closed is turned away, or is seen")
  func race() throws {
    for _ in 0..<2000 {
      let (gate, pass) = (Gate(), Gate.Pass())
      let entered = System.Monitor(false)
      let threads = ThreadGroup()
      try threads.start("channel") {
        let isIn = gate.enter(pass)
        entered.update { $0 = isIn }
      }
      gate.close()
      let isSeen = gate.isInside(pass)
      threads.joinAll()
      #expect(isSeen || !entered.read { $0 })
    }
  }
}
