//! Functions over histograms.

use super::super::plan::{Histogram, HistogramFunction};
use super::super::promql::Expr;
use super::call::text;
use super::{Translator, Vector, position};
use crate::error::{Error, Result};

impl Translator<'_> {
    pub(super) fn histogram(&self, name: &str, args: &[Expr]) -> Result<Vector> {
        let (function, scalars, vector) = match args {
            [vector, label, quantiles @ ..] if name == "histogram_quantiles" => {
                let label = String::from_utf8_lossy(text(label)?).into_owned();
                (HistogramFunction::Quantiles { label }, quantiles, vector)
            }
            [scalars @ .., vector] if name == "histogram_fraction" => {
                (HistogramFunction::Fraction, scalars, vector)
            }
            [scalars @ .., vector] => (HistogramFunction::Quantile, scalars, vector),
            [] => return Err(Error::internal("a function over histograms without its arguments")),
        };
        let vector = vector.unwrap_parens();
        let positions = scalars.iter().map(|scalar| position(scalar.unwrap_parens().span)).collect();
        let (arguments, inputs) = self.arguments(scalars)?;
        let input = Translator { names_resets: Some(false), ..*self }.vector(vector)?;
        // A label for the quantile may be the name.
        let sets_name =
            matches!(&function, HistogramFunction::Quantiles { label } if label == crate::model::METRIC_NAME);
        let histogram = Histogram { function, arguments, positions, position: position(vector.span) };
        let plan = histogram.plan(input.plan, inputs, self.schema);
        let has_one_name = input.has_one_name && !sets_name;
        Ok(self.without_names(Vector { plan, has_one_name }, false))
    }
}
