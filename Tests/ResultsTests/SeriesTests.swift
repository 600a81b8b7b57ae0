import Results
import Testing

/// Medians, spreads and ratios.
@Suite("Series")
struct SeriesTests {
  @Test("the median is the one in the middle, of two their mean, of none nothing")
  func median() {
    #expect(Series([3, 1, 2]).median == 2)
    #expect(Series([4, 1, 3, 2]).median == 2.5)
    #expect(Series().median.isNaN)
  }

  @Test("ratios are those of the same round")
  func ratios() {
    let ours = Series([1, 2, 9]), theirs = Series([2, 8, 3])
    #expect(ours.relative(to: theirs).values == [0.5, 0.25, 3])
    // A median of ratios, which a ratio of medians (2 to 3) is not.
    #expect(ours.relative(to: theirs).median == 0.5)
    #expect(ours.relative(to: Series([2])).values == [0.5])
    #expect(ours.relative(to: Series([0, 4, 3])).values == [0.5, 3])
  }

  @Test("a text says between which values the median lies")
  func text() {
    #expect(Series([0.5, 0.6, 0.514]).text() == "0.51 (0.50–0.60)")
    #expect(Series([12.34]).text(1) == "12.3")
    #expect(Series().text() == "–")
    #expect(Series([1, 2]).middle(1) == "1.5")
    #expect(Series().middle() == "–")
    #expect(Series([1, 2]).scaled(by: 1000).values == [1000, 2000])
  }
}
