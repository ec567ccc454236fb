// The dashboard's panels on Grafana's grid, by Grafana's own components, over answers of Prometheus.
import '@fontsource/inter/400.css';
import '@fontsource/inter/500.css';
import {
  applyFieldOverrides, createTheme, dateTime, FieldColorModeId, FieldType, Registry,
  type DataFrame, type FieldConfigPropertyItem, type TimeRange,
} from '@grafana/data';
import { LegendDisplayMode } from '@grafana/schema';
import { GlobalStyles, PanelChrome, ThemeContext, TimeSeries } from '@grafana/ui';
import { createRoot } from 'react-dom/client';

declare const FIGURES: any;

// Grafana's grid: 24 columns, rows of 30 pixels, 8 between them.
const ROW = 30, GAP = 8, COLUMNS = 24;

// What the time series panel takes for what a dashboard does not say (defaultGraphConfig).
const UNSAID = {
  drawStyle: 'line', lineInterpolation: 'linear', lineWidth: 1, fillOpacity: 0, gradientMode: 'none',
  showPoints: 'auto', pointSize: 5, spanNulls: false, axisPlacement: 'auto', axisLabel: '', axisColorMode: 'text',
  axisGridShow: true, axisBorderShow: false, axisCenteredZero: false, barAlignment: 0, insertNulls: false,
  scaleDistribution: { type: 'linear' }, hideFrom: { legend: false, tooltip: false, viz: false },
  thresholdsStyle: { mode: 'off' },
};

// What a dashboard may say of fields; each is taken as it is said.
const option = (path: string, isCustom: boolean) => ({
  id: isCustom ? `custom.${path}` : path, path, name: path, isCustom,
  process: (value: unknown) => value, shouldApply: () => true,
}) as unknown as FieldConfigPropertyItem;
const OPTIONS = new Registry<FieldConfigPropertyItem>(() => [
  ...['unit', 'min', 'max', 'decimals', 'color', 'thresholds', 'mappings', 'noValue', 'displayName']
    .map((path) => option(path, false)),
  ...Object.keys({ ...UNSAID, stacking: 0, axisSoftMax: 0 }).map((path) => option(path, true)),
]);

function frames(panel: any, answers: any[], step: number): DataFrame[] {
  return panel.targets.flatMap((target: any, place: number) =>
    answers[place].result.map((line: any) => ({
      refId: target.refId,
      length: line.values.length,
      fields: [
        { name: 'Time', type: FieldType.time, config: { interval: step * 1000 },
          values: line.values.map(([time]: [number, string]) => time * 1000) },
        { name: 'Value', type: FieldType.number, labels: line.metric,
          config: { displayNameFromDS: target.legendFormat.replace(/\{\{\s*(.+?)\s*\}\}/g,
            (_: string, label: string) => line.metric[label] ?? '') },
          values: line.values.map(([, value]: [number, string]) => {
            const number = Number(value);
            return Number.isNaN(number) ? null : number; // as Grafana's data source has it
          }) },
      ],
    })),
  );
}

function Board({ theme, width }: any) {
  const { dashboard, answers, step } = FIGURES;
  const range = { from: dateTime(FIGURES.start * 1000), to: dateTime(FIGURES.end * 1000) } as TimeRange;
  range.raw = { from: range.from, to: range.to };
  const column = (width - GAP * (COLUMNS - 1)) / COLUMNS;
  const size = (units: number, one: number) => units * one + (units - 1) * GAP;
  return dashboard.panels.map((panel: any) => {
    const { x, y, w, h } = panel.gridPos;
    if (panel.type === 'row') {
      return <h5 key={panel.id} style={{ position: 'absolute', top: y * (ROW + GAP) + 6 }}>{panel.title}</h5>;
    }
    const { defaults, overrides } = panel.fieldConfig;
    const stacking = { group: 'A', mode: 'none', ...defaults.custom?.stacking };
    const data = applyFieldOverrides({
      data: frames(panel, answers[panel.id], step),
      fieldConfig: { overrides, defaults: { color: { mode: FieldColorModeId.PaletteClassic }, ...defaults,
        custom: { ...UNSAID, ...defaults.custom, stacking } } },
      fieldConfigRegistry: OPTIONS, replaceVariables: (text: string) => text, theme, timeZone: 'utc',
    });
    const legend = { displayMode: LegendDisplayMode.List, placement: 'bottom', showLegend: true, calcs: [],
      ...panel.options?.legend };
    return (
      <div key={panel.id} style={{ position: 'absolute', left: x * (column + GAP), top: y * (ROW + GAP) }}>
        <PanelChrome title={panel.title} description={panel.description} width={size(w, column)} height={size(h, ROW)}>
          {(inner, height) => data.length === 0
            ? <div style={{ textAlign: 'center', paddingTop: height / 2 - 10 }}>No data</div>
            : <TimeSeries frames={data} width={inner} height={height} timeRange={range} timeZone="utc" legend={legend as any} />}
        </PanelChrome>
      </div>
    );
  });
}

const theme = createTheme({ colors: { mode: matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light' } });
const bottom = Math.max(...FIGURES.dashboard.panels.map(({ gridPos }: any) => gridPos.y + gridPos.h));
createRoot(document.body.appendChild(document.createElement('main'))).render(
  <ThemeContext.Provider value={theme}>
    <GlobalStyles />
    <div style={{ padding: 16, background: theme.colors.background.canvas, minHeight: '100vh' }}>
      <h3>{FIGURES.dashboard.title}</h3>
      <div style={{ position: 'relative', height: bottom * (ROW + GAP) }}>
        <Board theme={theme} width={innerWidth - 32} />
      </div>
    </div>
  </ThemeContext.Provider>,
);
