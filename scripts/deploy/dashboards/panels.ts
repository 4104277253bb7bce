// What the dashboards share: one way to make a panel, a row, a variable. Grafana's SDK makes the JSON.

import type { Builder } from '@grafana/grafana-foundation-sdk/cog';
import {
  LegendDisplayMode,
  LegendPlacement,
  StackingConfigBuilder,
  StackingMode,
  TooltipDisplayMode,
  VizLegendOptionsBuilder,
  VizTooltipOptionsBuilder,
} from '@grafana/grafana-foundation-sdk/common';
import {
  type Dashboard,
  DashboardBuilder,
  DatasourceVariableBuilder,
  type Panel,
  QueryVariableBuilder,
  RowBuilder,
  type RowPanel,
  VariableRefresh,
  VariableSort,
} from '@grafana/grafana-foundation-sdk/dashboard';
import { DataqueryBuilder, PromQueryFormat } from '@grafana/grafana-foundation-sdk/prometheus';
import { PanelBuilder as StatBuilder } from '@grafana/grafana-foundation-sdk/stat';
import { PanelBuilder as TableBuilder } from '@grafana/grafana-foundation-sdk/table';
import { PanelBuilder as TimeSeriesBuilder } from '@grafana/grafana-foundation-sdk/timeseries';

/** The variable that every dashboard has, so that an import needs no edit: the first Prometheus is chosen. */
const DATASOURCE = { type: 'prometheus', uid: '$datasource' };

/** One line or number of a panel. */
export interface Query {
  readonly expr: string;
  /** Grafana's legend: `{{domain}}`. */
  readonly legend: string;
}

export interface PanelOptions {
  readonly title: string;
  readonly description?: string;
  /** Grafana's unit: `bytes`, `Bps`, `percentunit`, `s`, `iops`, `short`. */
  readonly unit: string;
  /** Of the 24 columns. */
  readonly span?: number;
  readonly queries: readonly Query[];
}

function query({ expr, legend }: Query, refId: string): DataqueryBuilder {
  return new DataqueryBuilder().refId(refId).expr(expr).legendFormat(legend).datasource(DATASOURCE);
}

const refId = (index: number) => String.fromCharCode(65 + index);

/** Lines over time; stacked where the sum means something. */
export function lines(options: PanelOptions & { readonly isStacked?: boolean }): Builder<Panel> {
  const { title, description, unit, span = 12, queries, isStacked = false } = options;
  const panel = new TimeSeriesBuilder()
    .title(title)
    .unit(unit)
    .min(0)
    .span(span)
    .height(8)
    .datasource(DATASOURCE)
    .fillOpacity(isStacked ? 30 : 8)
    .stacking(new StackingConfigBuilder().mode(isStacked ? StackingMode.Normal : StackingMode.None))
    .legend(
      new VizLegendOptionsBuilder()
        .displayMode(LegendDisplayMode.List)
        .placement(LegendPlacement.Bottom)
        .showLegend(true)
        .calcs([]),
    )
    .tooltip(new VizTooltipOptionsBuilder().mode(TooltipDisplayMode.Multi));
  if (description !== undefined) panel.description(description);
  queries.forEach((each, i) => {
    panel.withTarget(query(each, refId(i)).range());
  });
  return panel;
}

/** One number. */
export function stat(options: PanelOptions): Builder<Panel> {
  const { title, description, unit, span = 4, queries } = options;
  const panel = new StatBuilder().title(title).unit(unit).span(span).height(4).datasource(DATASOURCE);
  if (description !== undefined) panel.description(description);
  queries.forEach((each, i) => {
    panel.withTarget(query(each, refId(i)).instant());
  });
  return panel;
}

/** A column of a table: its query returns one row for each set of labels. */
export interface Column {
  readonly title: string;
  readonly expr: string;
  readonly unit: string;
}

/** A table whose columns are joined by the label `by`. */
export function table(options: {
  readonly title: string;
  readonly by: string;
  readonly byTitle: string;
  readonly columns: readonly Column[];
  readonly span?: number;
}): Builder<Panel> {
  const { title, by, byTitle, columns, span = 24 } = options;
  const panel = new TableBuilder().title(title).span(span).height(9).datasource(DATASOURCE);
  columns.forEach(({ expr }, i) => {
    panel.withTarget(query({ expr, legend: '' }, refId(i)).instant().format(PromQueryFormat.Table));
  });
  const valueColumn = (i: number) => (columns.length === 1 ? 'Value' : `Value #${refId(i)}`);
  return panel
    .withTransformation({ id: 'joinByField', options: { byField: by, mode: 'outer' } })
    .withTransformation({
      id: 'organize',
      options: {
        excludeByName: Object.fromEntries(
          ['Time', ...columns.map((_, i) => `Time ${i + 1}`)].map((name) => [name, true]),
        ),
        renameByName: {
          [by]: byTitle,
          ...Object.fromEntries(columns.map(({ title: name }, i) => [valueColumn(i), name])),
        },
      },
    })
    .overrides(
      columns.map(({ title: name, unit }) => ({
        matcher: { id: 'byName', options: name },
        properties: [{ id: 'unit', value: unit }],
      })),
    );
}

export const row = (title: string): Builder<RowPanel> => new RowBuilder(title);

/** A variable whose values are those of a label in the result of a query. */
export function labelVariable(name: string, label: string, text: string, expr: string): QueryVariableBuilder {
  return new QueryVariableBuilder(name)
    .label(text)
    .datasource(DATASOURCE)
    .query(`query_result(${expr})`)
    .regex(`/${label}="([^"]+)"/`)
    .refresh(VariableRefresh.OnTimeRangeChanged)
    .sort(VariableSort.AlphabeticalCaseInsensitiveAsc)
    .multi(true)
    .includeAll(true)
    .allValue('.+')
    .current({ selected: true, text: 'All', value: '$__all' });
}

export interface DashboardOptions {
  readonly uid: string;
  readonly title: string;
  readonly description: string;
  readonly variables: readonly QueryVariableBuilder[];
  /** Rows and their panels, from top to bottom. */
  readonly content: readonly (readonly [Builder<RowPanel>, ...Builder<Panel>[]])[];
}

export function dashboard({ uid, title, description, variables, content }: DashboardOptions): Dashboard {
  const builder = new DashboardBuilder(title)
    .uid(uid)
    .description(description)
    .tags(['virtlens', 'libvirt'])
    .time({ from: 'now-3h', to: 'now' })
    .refresh('1m')
    .editable()
    .withVariable(new DatasourceVariableBuilder('datasource').label('Data source').type('prometheus'));
  for (const variable of variables) builder.withVariable(variable);
  for (const [head, ...panels] of content) {
    builder.withRow(head);
    for (const panel of panels) builder.withPanel(panel);
  }
  return builder.build();
}
