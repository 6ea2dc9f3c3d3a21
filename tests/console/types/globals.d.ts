declare const uPlot: typeof import("uplot");
